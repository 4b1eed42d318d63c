// Package context embeds what the agent is given to know of the company: the
// articles of its help centre.
package context

import (
	"embed"
	"io/fs"
)

//go:embed knowledge
var files embed.FS

// Knowledge holds the articles in markdown, a folder a category.
func Knowledge() fs.FS {
	sub, err := fs.Sub(files, "knowledge")
	if err != nil {
		panic(err) // the folder is embedded above
	}
	return sub
}
