// What Go's text/template makes of the templates in table.txt: each template and what became of it stand on two lines,
// as JSON strings. Without arguments, says what differs; with -write, writes what Go says.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"text/template"
)

var properties = map[string]string{
	"clusterName": "edge1",
	"region":      "us-east",
	"n":           "3",
	"html":        "<a b='c'>&\"",
}

func play(text string) string {
	t, err := template.New("t").Option("missingkey=error").Parse(text)
	if err != nil {
		return "! " + err.Error()
	}
	var out bytes.Buffer
	if err := t.Execute(&out, properties); err != nil {
		return "! " + err.Error()
	}
	return out.String()
}

func quoted(text string) string {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(text); err != nil {
		panic(err)
	}
	return strings.TrimSpace(out.String())
}

func main() {
	path := os.Args[len(os.Args)-1]
	write := len(os.Args) > 2 && os.Args[1] == "-write"
	table, err := os.ReadFile(path)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	var comments, lines []string
	scanner := bufio.NewScanner(bytes.NewReader(table))
	scanner.Buffer(nil, 1<<20)
	for scanner.Scan() {
		if strings.HasPrefix(scanner.Text(), "#") {
			comments = append(comments, scanner.Text())
		} else {
			lines = append(lines, scanner.Text())
		}
	}
	count, differ := 0, 0
	for at := 0; at+1 < len(lines); at += 2 {
		var text string
		if err := json.Unmarshal([]byte(lines[at]), &text); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", lines[at], err)
			os.Exit(1)
		}
		said := quoted(play(text))
		count++
		if said != lines[at+1] {
			differ++
			if !write {
				fmt.Printf("%s\n  table: %s\n  Go:    %s\n", lines[at], lines[at+1], said)
			}
		}
		lines[at+1] = said
	}
	if write {
		all := strings.Join(append(comments, lines...), "\n") + "\n"
		if err := os.WriteFile(path, []byte(all), 0o644); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	fmt.Printf("interop: %d templates, %d differ\n", count, differ)
	if count == 0 || differ > 0 {
		os.Exit(1)
	}
}
