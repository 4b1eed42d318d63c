package persistence

import (
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
	"time"

	"fte/support"
)

// PageTokens are the tokens of pages that customers are sent: whom the page is
// about, for what, and until when, signed. Nothing is stored of them.
type PageTokens struct {
	keys *Keys
	now  func() time.Time
}

// NewPageTokens returns the tokens; now defaults to the process's clock, which a
// token's days do not mind.
func NewPageTokens(keys *Keys, now func() time.Time) PageTokens {
	if now == nil {
		now = time.Now
	}
	return PageTokens{keys: keys, now: now}
}

// Make is a token for one sort of page. ref is a ticket's or a code's id; it may be
// empty.
func (p PageTokens) Make(page string, id support.CustomerID, ref string, lives time.Duration) string {
	said := fmt.Sprintf("%d.%s.%s", p.now().Add(lives).Unix(), id, ref)
	kid, mac := p.keys.Sign("page."+page, []byte(said))
	return base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "%s.%d.%s", said, kid, mac))
}

// Read opens a token of that sort of page. support.ErrUnauthentic where it is
// another's, changed or too old.
func (p PageTokens) Read(page, token string) (id support.CustomerID, ref string, err error) {
	bad := fmt.Errorf("read the token of a page: %w", support.ErrUnauthentic)
	raw, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil {
		return "", "", bad
	}
	parts := strings.SplitN(string(raw), ".", 5)
	if len(parts) != 5 {
		return "", "", bad
	}
	kid, err := strconv.Atoi(parts[3])
	if err != nil || !p.keys.Verify("page."+page, kid, []byte(strings.Join(parts[:3], ".")), []byte(parts[4])) {
		return "", "", bad
	}
	ends, err := strconv.ParseInt(parts[0], 10, 64)
	if err != nil || p.now().Unix() >= ends {
		return "", "", bad
	}
	return support.CustomerID(parts[1]), parts[2], nil
}
