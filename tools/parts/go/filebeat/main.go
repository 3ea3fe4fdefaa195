// Command filebeat is Filebeat with its free inputs and outputs, built from its Go module.
package main

import (
	"os"
	_ "time/tzdata"

	"github.com/elastic/beats/v7/filebeat/cmd"
	inputs "github.com/elastic/beats/v7/filebeat/input/default-inputs"
)

func main() {
	if cmd.Filebeat(inputs.Init, cmd.FilebeatSettings("")).Execute() != nil {
		os.Exit(1)
	}
}
