package whatsapp_test

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"net/url"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"fte/channel/whatsapp"
	"fte/channel/whatsapp/twiliotest"
	"fte/support"

	"github.com/stretchr/testify/require"
	"golang.org/x/text/unicode/norm"
)

const (
	account  = "AC00000000000000000000000000000001"
	token    = "0123456789abcdef0123456789abcdef"
	previous = "fedcba9876543210fedcba9876543210"
	number   = "whatsapp:+14155238886"
	public   = "https://fte.example.org"
	hookPath = "/webhooks/whatsapp"
	moment   = "2026-11-22T10:00:00Z"
)

func decoder(t testing.TB, change func(*whatsapp.Config)) *whatsapp.Decoder {
	t.Helper()
	c := whatsapp.Config{PublicURL: public, AccountSID: account, AuthTokens: []string{token, previous}, Number: number,
		Now: func() time.Time { at, _ := time.Parse(time.RFC3339, moment); return at }}
	if change != nil {
		change(&c)
	}
	d, err := whatsapp.New(c)
	require.NoError(t, err)
	return d
}

// message is a webhook's form.
func message(change url.Values) url.Values {
	f := url.Values{"MessageSid": {"SM00000000000000000000000000000001"}, "AccountSid": {account}, "From": {"whatsapp:+15551234567"}, "To": {number},
		"Body": {"hello"}, "NumMedia": {"0"}, "ProfileName": {"Ada"}, "MessageType": {"text"}, "WaId": {"15551234567"}}
	maps.Copy(f, change)
	return f
}

// signed is a request as Twilio makes it for a URL below public.
func signed(path, query, key string, form url.Values) support.Request {
	target := public + path
	if query != "" {
		target += "?" + query
	}
	return support.Request{Method: "POST", Path: path, Query: query, Body: []byte(form.Encode()), Header: map[string][]string{
		"Content-Type": {"application/x-www-form-urlencoded; charset=utf-8"}, "X-Twilio-Signature": {twiliotest.Sign(key, target, form)}}}
}

// The example of twilio.com/docs/usage/security.
func TestSignatureOfTheDocumentation(t *testing.T) {
	d := decoder(t, func(c *whatsapp.Config) {
		c.PublicURL, c.AuthTokens, c.AccountSID, c.Number = "https://mycompany.com", []string{"12345"}, "CA1", "whatsapp:+18005551212"
	})
	form := url.Values{"CallSid": {"CA1234567890ABCDE"}, "Caller": {"+14158675309"}, "Digits": {"1234"}, "From": {"+14158675309"}, "To": {"+18005551212"}}
	require.Equal(t, "RSOYDt4T1cUTdK1PDd93/VVr8B8=", twiliotest.Sign("12345", "https://mycompany.com/myapp.php?foo=1&bar=2", form))
	_, err := d.DecodeStatus(support.Request{Method: "POST", Path: "/myapp.php", Query: "foo=1&bar=2", Body: []byte(form.Encode()), Header: map[string][]string{
		"Content-Type": {"application/x-www-form-urlencoded"}, "X-Twilio-Signature": {"RSOYDt4T1cUTdK1PDd93/VVr8B8="}}})
	// Past the signature, its account is refused: it has none.
	require.ErrorContains(t, err, "another account")
}

func TestWebhooksAreVerified(t *testing.T) {
	jsonBody := `{"MessageSid":"SM00000000000000000000000000000001","AccountSid":"` + account + `","From":"whatsapp:+15551234567","To":"` + number + `","Body":"hello","NumMedia":0}`
	jsonSum := sha256.Sum256([]byte(jsonBody))
	jsonQuery := "bodySHA256=" + hex.EncodeToString(jsonSum[:])
	jsonRequest := func(body string) support.Request {
		r := signed(hookPath, jsonQuery, token, nil)
		r.Body, r.Header["Content-Type"] = []byte(body), []string{"application/json"}
		return r
	}
	with := func(r support.Request, change func(*support.Request)) support.Request {
		r.Header = maps.Clone(r.Header)
		change(&r)
		return r
	}
	plain := signed(hookPath, "", token, message(nil))
	cases := map[string]struct {
		request support.Request
		want    error // nil: accepted
	}{
		"a signed message":                     {plain, nil},
		"signed with the previous token":       {signed(hookPath, "", previous, message(nil)), nil},
		"signed with another token":            {signed(hookPath, "", "x", message(nil)), support.ErrUnauthentic},
		"without a signature":                  {with(plain, func(r *support.Request) { r.Header = map[string][]string{"Content-Type": r.Header["Content-Type"]} }), support.ErrUnauthentic},
		"an extra parameter that was signed":   {signed(hookPath, "", token, message(url.Values{"NewField": {"x"}})), nil},
		"an extra parameter that was not":      {with(plain, func(r *support.Request) { r.Body = append(r.Body, "&New=x"...) }), support.ErrUnauthentic},
		"a second value that was not signed":   {with(plain, func(r *support.Request) { r.Body = append(r.Body, "&Body=evil"...) }), support.ErrUnauthentic},
		"a repeated parameter that was signed": {signed(hookPath, "", token, message(url.Values{"Extra": {"b", "a", "b"}})), nil},
		"a tampered value":                     {with(plain, func(r *support.Request) { r.Body = []byte(strings.Replace(string(r.Body), "hello", "hellO", 1)) }), support.ErrUnauthentic},
		"a signed query":                       {signed(hookPath, "a=%C3%A4&b=1%202", token, message(nil)), nil},
		"a query encoded otherwise":            {with(signed(hookPath, "a=%C3%A4", token, message(nil)), func(r *support.Request) { r.Query = "a=%c3%a4" }), support.ErrUnauthentic},
		"a query that was not signed":          {with(plain, func(r *support.Request) { r.Query = "a=1" }), support.ErrUnauthentic},
		"another path":                         {with(plain, func(r *support.Request) { r.Path = "/webhooks/other" }), support.ErrUnauthentic},
		"signed over http": {with(plain, func(r *support.Request) {
			r.Header["X-Twilio-Signature"] = []string{twiliotest.Sign(token, "http://fte.example.org"+hookPath, message(nil))}
		}), support.ErrUnauthentic},
		"signed with the port": {with(plain, func(r *support.Request) {
			r.Header["X-Twilio-Signature"] = []string{twiliotest.Sign(token, "https://fte.example.org:443"+hookPath, message(nil))}
		}), nil},
		"signed with another port": {with(plain, func(r *support.Request) {
			r.Header["X-Twilio-Signature"] = []string{twiliotest.Sign(token, "https://fte.example.org:444"+hookPath, message(nil))}
		}), support.ErrUnauthentic},
		"a signature over a URL with its fragment": {with(plain, func(r *support.Request) {
			r.Header["X-Twilio-Signature"] = []string{twiliotest.Sign(token, public+hookPath+"#rc=3", message(nil))}
		}), support.ErrUnauthentic},
		"of another account": {signed(hookPath, "", token, message(url.Values{"AccountSid": {"AC2"}})), support.ErrUnauthentic},
		"to another number":  {signed(hookPath, "", token, message(url.Values{"To": {"whatsapp:+15550000000"}})), support.ErrUnauthentic},
		"a header in lower case": {with(plain, func(r *support.Request) {
			h := map[string][]string{}
			for k, v := range r.Header {
				h[strings.ToLower(k)] = v
			}
			r.Header = h
		}), nil},
		"by GET":             {with(plain, func(r *support.Request) { r.Method = "GET" }), support.ErrMalformed},
		"a body over 64 KiB": {signed(hookPath, "", token, message(url.Values{"Body": {strings.Repeat("x", 65<<10)}})), support.ErrTooLarge},
		"a compressed body": {with(plain, func(r *support.Request) {
			r.Header["Content-Encoding"] = []string{"gzip"}
		}), support.ErrUnsupported},
		"JSON without a hash": {with(plain, func(r *support.Request) {
			r.Header["Content-Type"] = []string{"application/json"}
		}), support.ErrUnsupported},
		"no content type":                            {with(plain, func(r *support.Request) { delete(r.Header, "Content-Type") }), support.ErrUnsupported},
		"a form that is none":                        {with(plain, func(r *support.Request) { r.Body = []byte("Body=%zz") }), support.ErrMalformed},
		"a query that is none":                       {with(plain, func(r *support.Request) { r.Query = "a=%zz" }), support.ErrMalformed},
		"JSON with its hash signed":                  {jsonRequest(jsonBody), nil},
		"JSON tampered":                              {jsonRequest(strings.Replace(jsonBody, "hello", "hellO", 1)), support.ErrUnauthentic},
		"a message without an id":                    {signed(hookPath, "", token, message(url.Values{"MessageSid": {""}})), support.ErrMalformed},
		"a message whose id would break keys":        {signed(hookPath, "", token, message(url.Values{"MessageSid": {"SM1/../x"}})), support.ErrMalformed},
		"a message from nobody":                      {signed(hookPath, "", token, message(url.Values{"From": {"whatsapp:"}})), support.ErrMalformed},
		"a message of another channel":               {signed(hookPath, "", token, message(url.Values{"From": {"+15551234567"}})), support.ErrMalformed},
		"a message from a country that is none":      {signed(hookPath, "", token, message(url.Values{"From": {"whatsapp:+9991234567"}})), support.ErrMalformed},
		"a message from a short code":                {signed(hookPath, "", token, message(url.Values{"From": {"whatsapp:+112"}})), support.ErrMalformed},
		"a message from a number with an extension":  {signed(hookPath, "", token, message(url.Values{"From": {"whatsapp:+15551234567;ext=5"}})), support.ErrMalformed},
		"a number that is none but a user id beside": {signed(hookPath, "", token, message(url.Values{"From": {"whatsapp:+9991234567"}, "ExternalUserId": {"whatsapp:US.1"}})), nil},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := decoder(t, nil).Decode(c.request)
			if c.want != nil {
				require.ErrorIs(t, err, c.want)
				require.Empty(t, got)
				require.NotContains(t, err.Error(), "hello")
				require.NotContains(t, err.Error(), "555")
				return
			}
			require.NoError(t, err)
			require.Len(t, got, 1)
			require.Equal(t, "hello", got[0].Text)
		})
	}
}

func TestPublicURLVariants(t *testing.T) {
	for public, target := range map[string]string{
		"https://fte.example.org/":                "https://fte.example.org/webhooks/whatsapp",
		"https://fte.example.org#ct=2000&rc=3":    "https://fte.example.org/webhooks/whatsapp",
		"https://fte.example.org:443":             "https://fte.example.org/webhooks/whatsapp",
		"http://127.0.0.1:8080":                   "http://127.0.0.1:8080/webhooks/whatsapp",
		"https://fte.example.org/base":            "https://fte.example.org/base/webhooks/whatsapp",
		"http://[::1]:8080":                       "http://[::1]:8080/webhooks/whatsapp",
		"https://fte.example.org:8443/base/#rc=3": "https://fte.example.org:8443/base/webhooks/whatsapp",
	} {
		r := signed(hookPath, "", token, message(nil))
		r.Header["X-Twilio-Signature"] = []string{twiliotest.Sign(token, target, message(nil))}
		_, err := decoder(t, func(c *whatsapp.Config) { c.PublicURL = public }).Decode(r)
		require.NoError(t, err, public)
	}
	for _, public := range []string{"", "fte.example.org", "ftp://x", "https://x?a=1"} {
		_, err := whatsapp.New(whatsapp.Config{PublicURL: public, AccountSID: account, AuthTokens: []string{token}, Number: number})
		require.Error(t, err, public)
	}
}

func TestMessageBecomesInbound(t *testing.T) {
	form := message(url.Values{"From": {"whatsapp:+5213312345678"}, "ExternalUserId": {"whatsapp:MX.4566546130240823"},
		"ParentExternalUserId": {"whatsapp:MX.ENT.99"}, "ProfileName": {"Ada\n\u202eecalevoL"}, "Body": {"hola"}})
	got, err := decoder(t, nil).Decode(signed(hookPath, "", token, form))
	require.NoError(t, err)
	at, _ := time.Parse(time.RFC3339, moment)
	require.Equal(t, []support.Inbound{{
		Channel: support.WhatsApp, ExternalID: "SM00000000000000000000000000000001",
		From:   []support.Address{{Kind: support.KindWABSUID, Value: "MX.4566546130240823"}, {Kind: support.KindPhone, Value: "+523312345678"}},
		Claims: []support.Address{{Kind: "wa_parent_bsuid", Value: "MX.ENT.99"}},
		Level:  support.ChannelVerified, Text: "hola", AcceptedAt: at,
		Envelope: support.Envelope{ReplyTo: "whatsapp:+5213312345678", Account: number, ProfileName: "Ada ecalevoL", Type: "text"},
	}}, got)
}

func TestMessageWithoutANumber(t *testing.T) {
	got, err := decoder(t, nil).Decode(signed(hookPath, "", token, message(url.Values{"From": {"whatsapp:US.13491208655302741918"}, "WaId": {""}})))
	require.NoError(t, err)
	require.Equal(t, []support.Address{{Kind: support.KindWABSUID, Value: "US.13491208655302741918"}}, got[0].From)
	require.Equal(t, "whatsapp:US.13491208655302741918", got[0].Envelope.ReplyTo)
}

func TestOwnNumberIsNeverAnswered(t *testing.T) {
	got, err := decoder(t, nil).Decode(signed(hookPath, "", token, message(url.Values{"From": {number}})))
	require.NoError(t, err)
	require.NotEmpty(t, got[0].Ignore)
}

func TestEveryTypeHasWords(t *testing.T) {
	cases := map[string]struct {
		form url.Values
		want string
	}{
		"text":           {url.Values{"Body": {"Hi"}}, "Hi"},
		"image":          {url.Values{"MessageType": {"image"}, "Body": {""}, "NumMedia": {"1"}, "MediaUrl0": {"https://api.twilio.com/x"}, "MediaContentType0": {"image/jpeg"}}, "[The customer sent an image without text: image/jpeg]"},
		"captioned":      {url.Values{"MessageType": {"image"}, "Body": {"see"}, "NumMedia": {"1"}, "MediaUrl0": {"https://api.twilio.com/x"}, "MediaContentType0": {"image/jpeg"}}, "see"},
		"two media":      {url.Values{"MessageType": {"document"}, "Body": {" "}, "NumMedia": {"2"}, "MediaUrl0": {"u"}, "MediaContentType0": {"application/pdf"}, "MediaUrl1": {"v"}, "MediaContentType1": {"image/png"}}, "[The customer sent 2 attachments without text: application/pdf, image/png]"},
		"contacts":       {url.Values{"MessageType": {"contacts"}, "Body": {""}, "NumMedia": {"1"}, "MediaUrl0": {"u"}, "MediaContentType0": {"text/vcard"}}, "[The customer sent a contact without text: text/vcard]"},
		"location":       {url.Values{"MessageType": {"location"}, "Body": {""}, "Latitude": {"52.5"}, "Longitude": {"13.4"}, "Label": {"Home"}, "Address": {"A Street 1"}}, "[The customer sent a location: Home, A Street 1 (52.5, 13.4)]"},
		"bare location":  {url.Values{"MessageType": {"location"}, "Body": {""}, "Latitude": {"52.5"}, "Longitude": {"13.4"}}, "[The customer sent a location: (52.5, 13.4)]"},
		"button":         {url.Values{"MessageType": {"button"}, "Body": {""}, "ButtonText": {"Yes"}, "ButtonPayload": {"y"}}, "Yes"},
		"button payload": {url.Values{"MessageType": {"button"}, "Body": {""}, "ButtonPayload": {"y"}}, "[The customer pressed a button: y]"},
		"list":           {url.Values{"MessageType": {"interactive"}, "Body": {""}, "ListId": {"1"}, "ListTitle": {"Billing"}}, "Billing"},
		"flow":           {url.Values{"MessageType": {"interactive"}, "Body": {""}, "FlowData": {`{"a":"b"}`}}, `[The customer filled in a form: {"a":"b"}]`},
		"interactive":    {url.Values{"MessageType": {"interactive"}, "Body": {""}, "InteractiveData": {`{"a":1}`}}, `[The customer chose: {"a":1}]`},
		"unknown":        {url.Values{"MessageType": {"hologram"}, "Body": {""}}, "[The customer sent a message of type hologram without text]"},
		"nothing at all": {url.Values{"MessageType": {""}, "Body": {""}}, "[The customer sent a message of type text without text]"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := decoder(t, nil).Decode(signed(hookPath, "", token, message(c.form)))
			require.NoError(t, err)
			require.Equal(t, c.want, got[0].Text)
		})
	}
}

func TestTextIsCleaned(t *testing.T) {
	form := message(url.Values{"Body": {"a\x00b\xff\x1b[1mc\u202ed\U000E0041\te\r\nf\u0085 e\u0301"}})
	got, err := decoder(t, nil).Decode(signed(hookPath, "", token, form))
	require.NoError(t, err)
	require.Equal(t, "ab�[1mcd\te\nf é", got[0].Text)
}

func TestCanonicalPhone(t *testing.T) {
	for given, want := range map[string]string{
		"+5213312345678": "+523312345678", "+523312345678": "+523312345678",
		"+553196883193": "+5531996883193", "+5531996883193": "+5531996883193", "+553133334444": "+553133334444",
		"+5491123456789": "+541123456789", "+541123456789": "+541123456789",
		"+14155238886": "+14155238886", "+٤٩١٥١٢٣٤٥٦٧٨٩": "+4915123456789", "+49 151 2345-6789": "+4915123456789",
		"+9991234567": "", "+112": "", "": "", "12345": "", "+1415523888612345678": "", "hello": "",
	} {
		got, err := whatsapp.CanonicalPhone(given)
		require.Equal(t, want, got, given)
		require.Equal(t, want == "", err != nil, given)
		if want != "" { // canonical forms stay
			again, err := whatsapp.CanonicalPhone(got)
			require.NoError(t, err)
			require.Equal(t, got, again)
		}
	}
}

func TestStatusCallbacks(t *testing.T) {
	const key = "01890000-0000-7000-8000-000000000001:7"
	callback := func(change url.Values) url.Values {
		f := url.Values{"MessageSid": {"SM2"}, "AccountSid": {account}, "From": {number}, "To": {"whatsapp:+15551234567"}, "MessageStatus": {"delivered"}}
		maps.Copy(f, change)
		return f
	}
	for status, want := range map[string]support.OutboxState{"queued": support.OutAccepted, "accepted": support.OutAccepted, "sending": support.OutAccepted,
		"sent": support.OutSent, "delivered": support.OutDelivered, "read": support.OutRead, "failed": support.OutFailed, "undelivered": support.OutUndelivered} {
		got, err := decoder(t, nil).DecodeStatus(signed(hookPath+"/status", "oid="+url.QueryEscape(key), token, callback(url.Values{"MessageStatus": {status}, "ErrorCode": {"63016"}})))
		require.NoError(t, err)
		r := support.Receipt{Channel: support.WhatsApp, Key: key, ProviderID: "SM2", State: want}
		if want == support.OutFailed || want == support.OutUndelivered {
			r.Code = "63016"
		}
		require.Equal(t, r, got)
	}
	for name, c := range map[string]struct {
		request support.Request
		want    error
	}{
		"another key under the same signature": {func() support.Request {
			r := signed(hookPath+"/status", "oid="+url.QueryEscape(key), token, callback(nil))
			r.Query = strings.Replace(r.Query, "1%3A7", "1%3A8", 1)
			return r
		}(), support.ErrUnauthentic},
		"unknown status":    {signed(hookPath+"/status", "", token, callback(url.Values{"MessageStatus": {"lost"}})), support.ErrMalformed},
		"no id":             {signed(hookPath+"/status", "", token, callback(url.Values{"MessageSid": {""}})), support.ErrMalformed},
		"a key that is no":  {signed(hookPath+"/status", "oid=x", token, callback(nil)), support.ErrMalformed},
		"of another number": {signed(hookPath+"/status", "", token, callback(url.Values{"From": {"whatsapp:+15550000000"}})), support.ErrUnauthentic},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := decoder(t, nil).DecodeStatus(c.request)
			require.ErrorIs(t, err, c.want)
		})
	}
	without, err := decoder(t, nil).DecodeStatus(signed(hookPath+"/status", "", token, callback(url.Values{"ErrorCode": {"x'; --"}, "MessageStatus": {"failed"}})))
	require.NoError(t, err)
	require.Equal(t, support.Receipt{Channel: support.WhatsApp, ProviderID: "SM2", State: support.OutFailed}, without)
}

// Whatever is sent, signed or not, the decoder answers a message that can be
// stored or one of its four errors.
func FuzzDecode(f *testing.F) {
	f.Add([]byte("Body=hi"), "a=1", "image", "US.1", true)
	f.Add([]byte("Body=%ff%00&From=whatsapp:%2B15551234567"), "", "", "whatsapp:+1", true)
	f.Add([]byte("NumMedia=99999999999&MediaUrl0=x"), "bodySHA256=00", "location", "\x00", false)
	d := decoder(f, nil)
	f.Fuzz(func(t *testing.T, body []byte, query, kind, user string, genuine bool) {
		values, err := url.ParseQuery(string(body))
		if err != nil {
			values = url.Values{"Body": {string(body)}}
		}
		form := message(values)
		form["AccountSid"], form["To"] = []string{account}, []string{number}
		form["MessageType"], form["ExternalUserId"] = []string{kind}, []string{user}
		r := signed(hookPath, query, token, form)
		if !genuine {
			r.Body = body
		}
		got, err := d.Decode(r)
		if err != nil {
			for _, known := range []error{support.ErrUnauthentic, support.ErrMalformed, support.ErrUnsupported, support.ErrTooLarge} {
				if strings.Contains(err.Error(), known.Error()) {
					return
				}
			}
			t.Fatalf("unknown error %v", err)
		}
		in := got[0]
		require.NotEmpty(t, strings.TrimSpace(in.Text))
		require.NotEmpty(t, in.From)
		for _, s := range []string{in.Text, in.Envelope.ProfileName, in.Envelope.Type, in.Envelope.ReplyTo, in.From[0].Value} {
			require.True(t, utf8.ValidString(s) && norm.NFC.IsNormalString(s) && !strings.ContainsRune(s, 0), "%q", s)
		}
	})
}
