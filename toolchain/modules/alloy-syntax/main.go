// Reads a configuration of Grafana Alloy from standard input and says whether Alloy's own parser takes it. Alloy as a
// whole is a program of gigabytes to build; its language is a small module.
package main

import (
	"fmt"
	"io"
	"os"

	"github.com/grafana/alloy/syntax/ast"
	"github.com/grafana/alloy/syntax/parser"
)

// Set by the linker.
var version = "unknown"

func main() {
	if len(os.Args) > 1 && os.Args[1] == "--version" {
		fmt.Println(version)
		return
	}
	text, err := io.ReadAll(os.Stdin)
	if err == nil {
		var file *ast.File
		if file, err = parser.ParseFile("config.alloy", text); err == nil {
			for _, statement := range file.Body {
				if block, ok := statement.(*ast.BlockStmt); ok {
					fmt.Println(block.GetBlockName(), block.Label)
				}
			}
			return
		}
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
