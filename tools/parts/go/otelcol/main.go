// Command otelcol is an OpenTelemetry Collector with the components in elk/collector/collector.yaml and one more
// exporter, with which it replaces Tempo in a test.
package main

import (
	"log"

	"github.com/open-telemetry/opentelemetry-collector-contrib/exporter/elasticsearchexporter"
	"github.com/open-telemetry/opentelemetry-collector-contrib/extension/healthcheckextension"
	"github.com/open-telemetry/opentelemetry-collector-contrib/extension/storage/filestorage"
	"github.com/open-telemetry/opentelemetry-collector-contrib/processor/transformprocessor"
	"github.com/open-telemetry/opentelemetry-collector-contrib/receiver/filelogreceiver"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/confmap/provider/envprovider"
	"go.opentelemetry.io/collector/confmap/provider/fileprovider"
	"go.opentelemetry.io/collector/confmap/provider/yamlprovider"
	"go.opentelemetry.io/collector/exporter"
	"go.opentelemetry.io/collector/exporter/otlpexporter"
	"go.opentelemetry.io/collector/exporter/otlphttpexporter"
	"go.opentelemetry.io/collector/extension"
	"go.opentelemetry.io/collector/otelcol"
	"go.opentelemetry.io/collector/processor"
	"go.opentelemetry.io/collector/processor/batchprocessor"
	"go.opentelemetry.io/collector/processor/memorylimiterprocessor"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/collector/receiver/otlpreceiver"
	"go.opentelemetry.io/collector/service/telemetry/otelconftelemetry"
)

// mapOf indexes factories by their type and by their former names.
func mapOf[T component.Factory](factories ...T) map[component.Type]T {
	made, err := otelcol.MakeFactoryMap(factories...)
	if err != nil {
		log.Fatal(err) // two of one type
	}
	return made
}

func factories() (otelcol.Factories, error) {
	return otelcol.Factories{
		Extensions: mapOf[extension.Factory](filestorage.NewFactory(), healthcheckextension.NewFactory()),
		Receivers:  mapOf[receiver.Factory](filelogreceiver.NewFactory(), otlpreceiver.NewFactory()),
		Processors: mapOf[processor.Factory](
			memorylimiterprocessor.NewFactory(), batchprocessor.NewFactory(), transformprocessor.NewFactory(),
		),
		Exporters: mapOf[exporter.Factory](
			elasticsearchexporter.NewFactory(), otlpexporter.NewFactory(), otlphttpexporter.NewFactory(),
		),
		Telemetry: otelconftelemetry.NewFactory(),
	}, nil
}

func main() {
	providers := []confmap.ProviderFactory{
		envprovider.NewFactory(), fileprovider.NewFactory(), yamlprovider.NewFactory(),
	}
	command := otelcol.NewCommand(otelcol.CollectorSettings{
		BuildInfo: component.BuildInfo{
			Command:     "otelcol",
			Description: "a Collector for the tests of django-partisan",
			Version:     "0.148.0",
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
