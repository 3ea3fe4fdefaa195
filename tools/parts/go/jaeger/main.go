// Command jaeger is Jaeger with only the components that receive spans by OTLP, keep them in memory and answer
// searches. The full program has more receivers and storages and takes twice as long to build.
//
// Jaeger's components are in internal packages. Go lets this module import them because of its path, whose last
// part is the name of the program.
package main

import (
	"log"

	"github.com/jaegertracing/jaeger/cmd/jaeger/internal/exporters/storageexporter"
	"github.com/jaegertracing/jaeger/cmd/jaeger/internal/extension/jaegerquery"
	"github.com/jaegertracing/jaeger/cmd/jaeger/internal/extension/jaegerstorage"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/confmap/provider/envprovider"
	"go.opentelemetry.io/collector/confmap/provider/fileprovider"
	"go.opentelemetry.io/collector/confmap/provider/yamlprovider"
	"go.opentelemetry.io/collector/exporter"
	"go.opentelemetry.io/collector/extension"
	"go.opentelemetry.io/collector/otelcol"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/collector/receiver/otlpreceiver"
	"go.opentelemetry.io/collector/service/telemetry/otelconftelemetry"
)

// mapOf indexes factories by their type.
func mapOf[T component.Factory](factories ...T) map[component.Type]T {
	made, err := otelcol.MakeFactoryMap(factories...)
	if err != nil {
		log.Fatal(err) // two of one type
	}
	return made
}

func factories() (otelcol.Factories, error) {
	return otelcol.Factories{
		Extensions: mapOf[extension.Factory](jaegerstorage.NewFactory(), jaegerquery.NewFactory()),
		Receivers:  mapOf[receiver.Factory](otlpreceiver.NewFactory()),
		Exporters:  mapOf[exporter.Factory](storageexporter.NewFactory()),
		Telemetry:  otelconftelemetry.NewFactory(),
	}, nil
}

func main() {
	providers := []confmap.ProviderFactory{
		envprovider.NewFactory(), fileprovider.NewFactory(), yamlprovider.NewFactory(),
	}
	command := otelcol.NewCommand(otelcol.CollectorSettings{
		BuildInfo: component.BuildInfo{
			Command:     "jaeger",
			Description: "Jaeger for the tests of django-partisan",
			Version:     "1.76.0",
		},
		Factories: factories,
		ConfigProviderSettings: otelcol.ConfigProviderSettings{
			ResolverSettings: confmap.ResolverSettings{ProviderFactories: providers, DefaultScheme: "env"},
		},
	})
	if err := command.Execute(); err != nil {
		log.Fatal(err)
	}
}
