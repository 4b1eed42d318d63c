package email

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/google/uuid"
	"go.uber.org/zap"

	"fte/support"
)

// The limits of what is stored of a mail, GM-09; what is beyond them is listed.
const (
	maxFiles = 10
	maxFile  = 10 << 20 // bytes of one
)

// Blobs keep the files of mails. One that is there stays as it is.
type Blobs interface {
	Put(ctx context.Context, id, name, mime string, body []byte) error
}

// mailFiles is the name space of the ids of mails' files.
var mailFiles = uuid.NewSHA1(uuid.NameSpaceURL, []byte("mail attachments"))

// store keeps a mail's files, one at a time, and says in media where. The same
// mail's get the same ids each time it is taken. A file that Gmail does not give
// is listed only; where Gmail or our tables are away it is support.ErrUnavailable.
func (m *Mailbox) store(ctx context.Context, id string, files []Attachment, media []support.Media) error {
	if m.cfg.Blobs == nil {
		return nil
	}
	stored := 0
	for i, f := range files {
		if stored == maxFiles || f.Size > maxFile || f.ID == "" && len(f.Body) == 0 {
			continue
		}
		body := f.Body
		if len(body) == 0 {
			var err error
			body, err = m.attachment(ctx, id, f.ID)
			if errors.Is(err, support.ErrUnavailable) {
				return err
			}
			if err != nil {
				m.cfg.Log.Warn("a file of a mail is not there", zap.String("message_id", m.ExternalID(id)), zap.Int("file", i+1), zap.Error(err))
				continue
			}
		}
		if len(body) == 0 || len(body) > maxFile {
			continue
		}
		blob := uuid.NewSHA1(mailFiles, fmt.Appendf(nil, "%s/%d", m.ExternalID(id), i+1)).String()
		kind, _, _ := strings.Cut(http.DetectContentType(body), ";")
		if err := m.cfg.Blobs.Put(ctx, blob, fmt.Sprintf("attachment-%d", i+1), kind, body); err != nil {
			return err
		}
		media[i].Blob, media[i].Size = blob, int64(len(body))
		stored++
	}
	return nil
}
