package support

// Document is an article of the knowledge base as it was learnt. Operators write
// it; customers' text never enters one by itself.
type Document struct {
	Path     string // as given to Learn, slash-separated; identifies the article
	Title    string
	Category string // the folder the article lies in; may be empty
	Sum      []byte // SHA-256 of its source: unchanged articles are not stored again
	Chunks   []Chunk
}

// Chunk is a passage of a Document, the unit that is found and cited.
type Chunk struct {
	ID       string // UUID, set by the store
	Path     string // of its document
	Title    string // of its document
	Category string // of its document
	N        int    // 0..n within its document
	Heading  string // nearest heading; the title where there is none
	Starts   int    // byte offsets of the passage in the document's source
	Ends     int
	Text     string    // plain text, paragraphs separated by newlines
	Terms    [3]string // stems separated by blanks: of title, heading and text
	Vector   []float32 // embedding; nil where the store keeps none
}

// Candidates are chunks that may answer a query, with what is needed to weigh
// its words.
type Candidates struct {
	Chunks []Chunk
	Total  int            // chunks of current documents
	With   map[string]int // how many of them hold a term of the query
}
