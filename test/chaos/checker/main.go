package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"hash/fnv"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"
)

// A partition's history as Porcupine wants it: what is unknown may happen until the end of time, or never show.
func toPorcupine(history []Operation) []porcupine.Operation {
	operations := make([]porcupine.Operation, 0, len(history))
	for i := range history {
		o := &history[i]
		returned := o.End
		if o.Result == unknown {
			if o.Kind == "stat" || o.Kind == "exists" || o.Kind == "list" || o.Kind == "read" {
				continue
			}
			returned = math.MaxInt64
		}
		operations = append(operations, porcupine.Operation{
			ClientId: o.Client, Input: o, Call: o.Start, Output: o.Result, Return: returned,
		})
	}
	return operations
}

var model = porcupine.Model{
	Init: func() interface{} { return newTree(nil) },
	Step: func(state, input, _ interface{}) (bool, interface{}) {
		return state.(*tree).step(input.(*Operation))
	},
	Equal: func(one, other interface{}) bool { return one.(*tree).key == other.(*tree).key },
	Hash: func(state interface{}) uint64 {
		hash := fnv.New64a()
		hash.Write([]byte(state.(*tree).key))
		return hash.Sum64()
	},
	DescribeOperation: func(input, _ interface{}) string { return describe(input.(*Operation)) },
	DescribeState:     func(state interface{}) string { return state.(*tree).key },
}

func describe(o *Operation) string {
	text := o.Kind + " " + o.Path
	if o.Kind == "rename" {
		text += " to " + o.To
	}
	if o.IsRecursive {
		text += " recursively"
	}
	text += ": " + o.Result
	if o.Result != ok {
		return text
	}
	switch o.Kind {
	case "stat":
		text += fmt.Sprintf(" #%s directory=%t completed=%t %d B", o.ID, o.IsDirectory, o.IsCompleted, o.LengthBytes)
	case "exists":
		text += fmt.Sprintf(" %t", o.DoesExist)
	case "list":
		names := make([]string, 0, len(o.Children))
		for _, child := range o.Children {
			names = append(names, child.Name)
		}
		text += " [" + strings.Join(names, " ") + "]"
	case "read", "write":
		text += " " + o.Content
	case "create":
		text += " #" + o.ID
	}
	return text
}

// Judgement is of one partition.
type Judgement struct {
	Partition     string `json:"partition"`
	Operations    int    `json:"operations"`
	Result        string `json:"result"`
	Visualization string `json:"visualization,omitempty"`
}

func judge(partition string, history []Operation, timeout time.Duration, folder string) Judgement {
	operations := toPorcupine(history)
	result, info := porcupine.CheckOperationsVerbose(model, operations, timeout)
	judgement := Judgement{Partition: partition, Operations: len(operations), Result: string(result)}
	if result == porcupine.Illegal && folder != "" {
		name := strings.ReplaceAll(partition, "/", "-") + ".html"
		judgement.Visualization = filepath.Join(folder, name)
		if err := porcupine.VisualizePath(model, info, judgement.Visualization); err != nil {
			judgement.Visualization = "not written: " + err.Error()
		}
	}
	return judgement
}

func read(paths []string) (map[string][]Operation, error) {
	partitions := map[string][]Operation{}
	for _, path := range paths {
		file, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		lines := bufio.NewScanner(file)
		lines.Buffer(make([]byte, 64*1024), 16*1024*1024)
		for lines.Scan() {
			var o Operation
			if err := json.Unmarshal(lines.Bytes(), &o); err != nil {
				return nil, fmt.Errorf("%s: %w", path, err)
			}
			// Files that nobody touches again have a checker of their own.
			if !strings.HasPrefix(o.Partition, "keep/") {
				partitions[o.Partition] = append(partitions[o.Partition], o)
			}
		}
		if err := lines.Err(); err != nil {
			return nil, err
		}
		file.Close()
	}
	return partitions, nil
}

func main() {
	timeout := flag.Duration("timeout", time.Minute, "for each partition")
	folder := flag.String("visualize", "", "folder for pictures of violations")
	flag.Parse()
	partitions, err := read(flag.Args())
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	names := make([]string, 0, len(partitions))
	for name := range partitions {
		names = append(names, name)
	}
	sort.Strings(names)
	judgements := make([]Judgement, len(names))
	var group sync.WaitGroup
	slots := make(chan struct{}, runtime.NumCPU())
	for i, name := range names {
		group.Add(1)
		go func() {
			defer group.Done()
			slots <- struct{}{}
			judgements[i] = judge(name, partitions[name], *timeout, *folder)
			<-slots
		}()
	}
	group.Wait()
	if err := json.NewEncoder(os.Stdout).Encode(judgements); err != nil {
		os.Exit(2)
	}
}
