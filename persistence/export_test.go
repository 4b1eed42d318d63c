package persistence

// What tests explain.
const (
	LoadSQL    = loadSQL
	DueSQL     = dueSQL
	MissingSQL = missingSQL
)
