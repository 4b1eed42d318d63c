// Package migrations holds the schema as goose migrations, forward only.
// 0001_initial.sql is copied from the design's tables; the vector extension and
// its table are created beside it, where the server has them.
package migrations

import "embed"

// FS holds NNNN_what.sql.
//
//go:embed *.sql
var FS embed.FS
