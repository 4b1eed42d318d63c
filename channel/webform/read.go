package webform

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"strings"
)

// The limits of channels.md WF-01, in bytes.
const (
	maxJSON      = 32 << 10
	maxMultipart = 10<<20 + 512<<10
	maxFile      = 5 << 20
	maxFiles     = 3
)

// read reads a submission, as JSON or multipart. What cannot be read at all is a
// problem of its own; wrong fields are collected.
func read(r *http.Request) (d fields, files []file, wrong []fieldError, err error) {
	if e := r.Header.Get("Content-Encoding"); e != "" && !strings.EqualFold(e, "identity") {
		return d, nil, nil, problem{status: http.StatusUnsupportedMediaType, detail: "compressed bodies are not read"}
	}
	media, params, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch media {
	case "application/json":
		body, err := limited(r.Body, maxJSON)
		if err == nil {
			wrong, err = decode(body, &d)
		}
		return d, nil, wrong, err
	case "multipart/form-data":
		body, err := limited(r.Body, maxMultipart)
		if err == nil && !whole(body, params["boundary"]) {
			err = malformed("the body is not a form, or not all of it")
		}
		if err == nil {
			files, wrong, err = parts(multipart.NewReader(bytes.NewReader(body), params["boundary"]), &d)
		}
		return d, files, wrong, err
	default:
		return d, nil, nil, problem{status: http.StatusUnsupportedMediaType, detail: "a form is application/json, or multipart/form-data with files"}
	}
}

// whole says whether a multipart body has its end: mime/multipart takes one that
// is cut within a header for complete.
func whole(body []byte, boundary string) bool {
	return boundary != "" && bytes.Contains(body, []byte("--"+boundary+"--"))
}

// limited reads a body of at most limit bytes.
func limited(body io.Reader, limit int) ([]byte, error) {
	var b bytes.Buffer // which leaves less behind than io.ReadAll
	if _, err := b.ReadFrom(io.LimitReader(body, int64(limit)+1)); err != nil {
		return nil, malformed("the body ended early")
	}
	if b.Len() > limit {
		return nil, problem{status: http.StatusRequestEntityTooLarge, detail: fmt.Sprintf("the body is larger than %d bytes", limit)}
	}
	return b.Bytes(), nil
}

func malformed(detail string) problem { return problem{status: http.StatusBadRequest, detail: detail} }

// decode reads one JSON object into a struct and refuses fields it does not have.
func decode(body []byte, into any) ([]fieldError, error) {
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	err := dec.Decode(into)
	var wrongType *json.UnmarshalTypeError
	switch {
	case errors.As(err, &wrongType) && wrongType.Field != "":
		return []fieldError{{wrongType.Field, "must be a text"}}, nil
	case err != nil && strings.HasPrefix(err.Error(), "json: unknown field "): // encoding/json has no type for it
		name := strings.Trim(strings.TrimPrefix(err.Error(), "json: unknown field "), `"`)
		return unknownField(name), nil
	case err != nil:
		return nil, malformed("the body is not a JSON object")
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, malformed("the body is more than one JSON object")
	}
	return nil, nil
}

func unknownField(name string) []fieldError {
	if len(name) > 64 {
		name = name[:64]
	}
	return []fieldError{{line(name), "is no field of this form"}}
}

// parts reads a multipart body.
func parts(from *multipart.Reader, d *fields) (files []file, wrong []fieldError, err error) {
	named, seen, texts := d.named(), map[string]bool{}, 0
	for n := 0; ; n++ {
		part, err := from.NextRawPart()
		switch {
		case err == io.EOF:
			return files, wrong, nil
		case err != nil || n == 100:
			return nil, nil, malformed("the body is not a form")
		}
		name := part.FormName()
		if name == "attachments" {
			var detail string
			if files, detail, err = attach(files, part); err != nil {
				return nil, nil, err
			}
			if detail != "" {
				wrong = append(wrong, fieldError{name, detail})
			}
			continue
		}
		value, err := limited(part, maxJSON)
		if texts += len(value); err == nil && texts > maxJSON {
			err = problem{status: http.StatusRequestEntityTooLarge, detail: "the fields are too large"}
		}
		switch {
		case err != nil:
			return nil, nil, err
		case named[name] == nil:
			wrong = append(wrong, unknownField(name)...)
		case seen[name]:
			wrong = append(wrong, fieldError{name, "is given twice"})
		default:
			*named[name], seen[name] = string(value), true
		}
	}
}
