package webform

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"path"
	"strings"
)

// file is an attachment that may be kept.
type file struct {
	name string // as its sender calls it
	ext  string // canonical, with its dot
	mime string
	body []byte
}

// kinds are the files that are taken: what a name ends in, and what must then be
// inside. A file is what its bytes say and its name says, or it is refused.
var kinds = map[string]struct {
	ext, mime string
	is        func([]byte) bool
}{
	".png":  {".png", "image/png", isPNG},
	".jpg":  {".jpg", "image/jpeg", isJPEG},
	".jpeg": {".jpg", "image/jpeg", isJPEG},
	".webp": {".webp", "image/webp", isWebP},
	".pdf":  {".pdf", "application/pdf", isPDF},
	".txt":  {".txt", "text/plain; charset=utf-8", isText},
}

// attach reads one more file. detail says why it is refused; then it is read to
// its end and left out.
func attach(files []file, part *multipart.Part) (_ []file, detail string, err error) {
	var read bytes.Buffer
	if _, err := read.ReadFrom(io.LimitReader(part, maxFile+1)); err != nil {
		return nil, "", malformed("the body is not a form")
	}
	body := read.Bytes()
	name := line(path.Base(strings.ReplaceAll(part.FileName(), `\`, "/")))
	if runes := []rune(name); len(runes) > 100 { // its end tells more than its beginning
		name = string(runes[len(runes)-100:])
	}
	kind, known := kinds[strings.ToLower(path.Ext(name))]
	switch {
	case part.FileName() == "" && len(body) == 0: // a browser's empty file field
		return files, "", nil
	case len(files) == maxFiles:
		return files, fmt.Sprintf("at most %d files are taken", maxFiles), nil
	case len(body) > maxFile:
		return files, fmt.Sprintf("%q is larger than %d bytes", name, maxFile), nil
	case len(body) == 0:
		return files, fmt.Sprintf("%q is empty", name), nil
	case !known || !kind.is(body):
		return files, fmt.Sprintf("%q is no PNG, JPEG, WebP, PDF or text file", name), nil
	}
	return append(files, file{name, kind.ext, kind.mime, body}), "", nil
}

// isPNG walks the chunks: nothing may follow the last.
func isPNG(b []byte) bool {
	const signature = "\x89PNG\r\n\x1a\n"
	if !bytes.HasPrefix(b, []byte(signature)) || active(b) {
		return false
	}
	for b = b[len(signature):]; len(b) >= 12; {
		length := int64(binary.BigEndian.Uint32(b))
		if length+12 > int64(len(b)) {
			return false
		}
		if kind := string(b[4:8]); kind == "IEND" {
			return length == 0 && len(b) == 12
		}
		b = b[12+length:]
	}
	return false
}

// isJPEG allows what cameras append, but nothing that something else would run.
func isJPEG(b []byte) bool {
	return bytes.HasPrefix(b, []byte("\xff\xd8\xff")) && bytes.Contains(b, []byte("\xff\xd9")) && !active(b)
}

// isWebP checks that the container holds the whole file.
func isWebP(b []byte) bool {
	if len(b) < 16 || string(b[:4]) != "RIFF" || string(b[8:15]) != "WEBPVP8" || active(b) {
		return false
	}
	size := int64(binary.LittleEndian.Uint32(b[4:])) + 8
	return size == int64(len(b)) || size+1 == int64(len(b))
}

// isPDF wants the header first and the trailer last.
func isPDF(b []byte) bool {
	return bytes.HasPrefix(b, []byte("%PDF-")) && bytes.Contains(b[max(0, len(b)-1024):], []byte("%%EOF")) && !markup(b[:min(len(b), 1024)])
}

// isText wants no binary and no beginning that a browser would take for markup.
func isText(b []byte) bool {
	for _, c := range b {
		if c < ' ' && !strings.ContainsRune("\t\n\r\f\x1b", rune(c)) || c == 0x7f {
			return false
		}
	}
	head := bytes.TrimLeft(bytes.TrimPrefix(b, []byte("\xef\xbb\xbf")), " \t\r\n\f")
	return strings.HasPrefix(http.DetectContentType(b), "text/plain") && !bytes.HasPrefix(head, []byte("<")) &&
		!bytes.HasPrefix(head, []byte("%PDF-"))
}

// active says whether an image is something else as well: a page, a document or
// an archive.
func active(b []byte) bool {
	return markup(b) || bytes.Contains(b[:min(len(b), 1024)], []byte("%PDF-")) || bytes.Contains(b[max(0, len(b)-65_557):], []byte("PK\x05\x06"))
}

// markup finds the tags by which browsers know pages and drawings.
func markup(b []byte) bool {
	low := make([]byte, len(b)) // bytes.ToLower reads UTF-8, which this is not
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		low[i] = c
	}
	for _, tag := range []string{"<script", "<svg", "<html", "<!doctype", "<iframe", "<?php"} {
		if bytes.Contains(low, []byte(tag)) {
			return true
		}
	}
	return false
}
