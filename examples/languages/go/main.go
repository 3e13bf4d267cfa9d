// Tally sums a column of a table by the names in its first one.
//
// The columns are parted by tabs, and counted from 1. A line is the chunk's number, a name, and its sum.
package main

import (
	"bufio"
	"fmt"
	"io"
	"log"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
)

func main() {
	log.SetFlags(0)
	if len(os.Args) < 2 {
		log.Fatal("which column?")
	}
	column, err := strconv.Atoi(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	sums, err := tally(bufio.NewReader(os.Stdin), column)
	if err != nil {
		log.Fatal(err)
	}
	out := bufio.NewWriter(os.Stdout)
	for _, name := range slices.Sorted(maps.Keys(sums)) {
		fmt.Fprintf(out, "%s\t%s\t%d\n", os.Getenv("ESSAIM_CHUNK"), name, sums[name])
	}
	if err := out.Flush(); err != nil {
		log.Fatal(err)
	}
}

func tally(in *bufio.Reader, column int) (map[string]int64, error) {
	sums := make(map[string]int64)
	for number := 1; ; number++ {
		line, err := in.ReadString('\n')
		if err == io.EOF && line == "" {
			return sums, nil
		}
		if err != nil && err != io.EOF {
			return nil, err
		}
		fields := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if column < 1 || column > len(fields) {
			return nil, fmt.Errorf("line %d has no number in column %d", number, column)
		}
		value, err := strconv.ParseInt(fields[column-1], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("line %d has no number in column %d", number, column)
		}
		sums[fields[0]] += value
	}
}
