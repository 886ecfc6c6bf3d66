// The InfluxDB 2.7 server. The script `influxdb` in this folder builds it from InfluxDB's Go module.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/influxdata/influxdb/v2/cmd/influxd/launcher"
	_ "github.com/influxdata/influxdb/v2/tsdb/engine/tsm1"
	_ "github.com/influxdata/influxdb/v2/tsdb/index/tsi1"
	"github.com/spf13/viper"
)

func main() {
	command, err := launcher.NewInfluxdCommand(context.Background(), viper.New())
	if err == nil {
		err = command.Execute()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
