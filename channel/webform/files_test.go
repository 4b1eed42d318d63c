package webform_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"image"
	"image/jpeg"
	"image/png"
	"mime/multipart"
	"net/http"
	"strings"
	"testing"

	"fte/support"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

type upload struct {
	name string
	body []byte
}

// multi is a form with files.
func multi(t testing.TB, form map[string]any, files ...upload) (contentType string, body []byte) {
	var b bytes.Buffer
	m := multipart.NewWriter(&b)
	for k, v := range form {
		require.NoError(t, m.WriteField(k, fmt.Sprint(v)))
	}
	for _, f := range files {
		part, err := m.CreateFormFile("attachments", f.name)
		require.NoError(t, err)
		_, err = part.Write(f.body)
		require.NoError(t, err)
	}
	require.NoError(t, m.Close())
	return m.FormDataContentType(), b.Bytes()
}

func (w *world) upload(header map[string]string, form map[string]any, files ...upload) answer {
	contentType, body := multi(w.t, form, files...)
	h := map[string]string{"Content-Type": contentType, "X-Site-Key": "shop", "Origin": shop}
	for k, v := range header {
		h[k] = v
	}
	return w.do("POST", "/support/submit", h, bytes.NewReader(body))
}

func drawing(t testing.TB) (asPNG, asJPEG, asWebP []byte) {
	var p, j bytes.Buffer
	img := image.NewRGBA(image.Rect(0, 0, 8, 8))
	require.NoError(t, png.Encode(&p, img))
	require.NoError(t, jpeg.Encode(&j, img, nil))
	webp := append([]byte("RIFF\x00\x00\x00\x00WEBPVP8L"), 0, 0, 0, 0)
	binary.LittleEndian.PutUint32(webp[4:], uint32(len(webp)-8))
	return p.Bytes(), j.Bytes(), webp
}

const (
	aPDF = "%PDF-1.7\n1 0 obj\n<<>>\nendobj\ntrailer\n<<>>\n%%EOF\n"
	aSVG = `<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>`
)

func TestFilesAreStoredBeforeTheirMessage(t *testing.T) {
	w := newWorld(t)
	p, j, webp := drawing(t)
	key := map[string]string{"Idempotency-Key": uuid.NewString()}
	form := valid(map[string]any{"message": "Please look\r\nat these."})
	files := []upload{{"shot.PNG", p}, {`C:\fakepath\photo.jpeg`, j}, {"../../etc/passwd.webp", webp}}
	a := w.upload(key, form, files...)
	require.Equal(t, http.StatusOK, a.status, a.body)
	var r receipt
	a.into(t, &r)
	in := w.published[0]
	require.Equal(t, "Please look\nat these.", in.Text)
	require.Len(t, in.Envelope.Media, 3)
	for i, want := range []support.Media{{Type: "image/png", Name: "shot.PNG", Size: int64(len(p))}, {Type: "image/jpeg", Name: "photo.jpeg", Size: int64(len(j))},
		{Type: "image/webp", Name: "passwd.webp", Size: int64(len(webp))}} {
		got := in.Envelope.Media[i]
		require.Equal(t, files[i].body, w.blobs[got.Blob])
		got.Blob = ""
		require.Equal(t, want, got)
	}
	var again receipt
	w.upload(key, form, files...).into(t, &again)
	require.Equal(t, r.Ticket, again.Ticket)
	require.Len(t, w.blobs, 3, "a retry stores nothing new")
	w.upload(key, form, files[:2]...).into(t, &again)
	require.NotEqual(t, r.Ticket, again.Ticket, "other files are another form")
	require.Equal(t, http.StatusOK, w.upload(nil, form).status, "multipart without files")

	w.away = support.ErrUnavailable
	a = w.upload(nil, form, files...)
	require.Equal(t, http.StatusServiceUnavailable, a.status)
	require.NotEmpty(t, a.header.Get("Retry-After"))
}

func TestAFileIsWhatItSays(t *testing.T) {
	w := newWorld(t)
	p, j, webp := drawing(t)
	with := func(b []byte, tail string) []byte { return append(bytes.Clone(b), tail...) }
	for name, c := range map[string]struct {
		file upload
		good bool
	}{
		"text":                          {upload{"log.txt", []byte("line 1\nüber\n")}, true},
		"text of old Windows":           {upload{"log.TXT", []byte("gr\xfc\xdfe\r\n")}, true},
		"PDF":                           {upload{"a.pdf", []byte(aPDF)}, true},
		"a camera's tail":               {upload{"a.jpg", with(j, strings.Repeat("\x00", 64))}, true},
		"a drawing":                     {upload{"a.svg", []byte(aSVG)}, false},
		"a drawing that says PNG":       {upload{"a.png", []byte(aSVG)}, false},
		"a drawing that says text":      {upload{"a.txt", []byte("\xef\xbb\xbf \n" + aSVG)}, false},
		"a page that says text":         {upload{"a.txt", []byte("<!DOCTYPE html><p>hello")}, false},
		"a page":                        {upload{"a.html", []byte("<html>")}, false},
		"a page behind a PNG":           {upload{"a.png", with(p, "<html>")}, false},
		"a page behind a JPEG":          {upload{"a.jpg", with(j, "<ScRipT>alert(1)</script>")}, false},
		"an archive behind a JPEG":      {upload{"a.jpg", with(j, "PK\x05\x06"+strings.Repeat("\x00", 18))}, false},
		"an archive behind a PDF":       {upload{"a.pdf", []byte(aPDF + strings.Repeat("x", 2000))}, false},
		"a page within a WebP":          {upload{"a.webp", with(webp, "<html>")}, false},
		"a PNG that says JPEG":          {upload{"a.jpg", p}, false},
		"a JPEG that says PDF":          {upload{"a.pdf", j}, false},
		"a PDF that says text":          {upload{"a.txt", []byte(aPDF)}, false},
		"a page before a PDF":           {upload{"a.pdf", []byte("<html>" + aPDF)}, false},
		"half a PNG":                    {upload{"a.png", p[:len(p)-5]}, false},
		"binary that says text":         {upload{"a.txt", []byte("MZ\x00\x01")}, false},
		"no name's end":                 {upload{"README", []byte("hello")}, false},
		"two ends":                      {upload{"a.txt.exe", []byte("hello")}, false},
		"empty":                         {upload{"a.txt", nil}, false},
		"exactly 5 MiB":                 {upload{"a.txt", bytes.Repeat([]byte("a"), 5<<20)}, true},
		"a byte more than 5 MiB":        {upload{"a.txt", bytes.Repeat([]byte("a"), 5<<20+1)}, false},
		"a length that leaves its file": {upload{"a.png", []byte("\x89PNG\r\n\x1a\n\xff\xff\xff\xffIHDR\x00\x00\x00\x00")}, false},
	} {
		a := w.upload(nil, valid(nil), c.file)
		if c.good {
			require.Equal(t, http.StatusOK, a.status, "%s: %s", name, a.body)
		} else {
			require.Equal(t, http.StatusUnprocessableEntity, a.status, name)
			require.Contains(t, a.errors(t), "attachments", name)
		}
	}
}

func TestAMultipartBodyIsBounded(t *testing.T) {
	w := newWorld(t)
	text := func(n int) upload { return upload{"a.txt", bytes.Repeat([]byte("a"), n)} }
	require.Equal(t, http.StatusOK, w.upload(nil, valid(nil), text(1), text(2), text(3)).status)
	a := w.upload(nil, valid(nil), text(1), text(2), text(3), text(4))
	require.Equal(t, http.StatusUnprocessableEntity, a.status)
	require.Contains(t, a.errors(t)["attachments"], "at most 3")

	contentType, body := multi(t, valid(nil), text(5<<20), text(5<<20))
	fill := 10<<20 + 512<<10 - len(body)
	post := func(n int) answer { // an epilogue is ignored, and counts
		return w.do("POST", "/support/submit", map[string]string{"Content-Type": contentType, "X-Site-Key": "shop"},
			bytes.NewReader(append(bytes.Clone(body), bytes.Repeat([]byte("\n"), n)...)))
	}
	require.Equal(t, http.StatusOK, post(fill).status)
	require.Equal(t, http.StatusRequestEntityTooLarge, post(fill+1).status)

	require.Equal(t, http.StatusRequestEntityTooLarge, w.upload(nil, valid(map[string]any{"message": strings.Repeat("a", 33<<10)})).status)
	require.Contains(t, w.upload(nil, valid(map[string]any{"admin": "1"})).errors(t), "admin")
	broken := w.do("POST", "/support/submit", map[string]string{"Content-Type": "multipart/form-data; boundary=x", "X-Site-Key": "shop"}, strings.NewReader("--x\r\nContent-Disposition: form-data; name=\"na"))
	require.Equal(t, http.StatusBadRequest, broken.status)
	require.Equal(t, http.StatusBadRequest, w.do("POST", "/support/submit", map[string]string{"Content-Type": "multipart/form-data", "X-Site-Key": "shop"}, strings.NewReader("x")).status)
}
