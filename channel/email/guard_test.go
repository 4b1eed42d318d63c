package email

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"fte/support"
)

const passes = "Authentication-Results: mx.google.com; spf=pass smtp.mailfrom=anna@example.com; dmarc=pass (p=NONE sp=NONE dis=NONE) header.from=example.com\n"

// readMail reads a mail whose sender is anna@example.com unless header says so.
func readMail(t *testing.T, header, body string, c ReadConfig) Mail {
	t.Helper()
	if !strings.Contains("\n"+header, "\nFrom:") {
		header += "From: Anna <anna@example.com>\n"
	}
	s, err := ParseMIME([]byte(header + "Message-ID: <m@example.com>\n\n" + body))
	require.NoError(t, err)
	return Read(s, c)
}

// TestMustNotBeAnswered is the matrix of GM-14: header, action, reason.
func TestMustNotBeAnswered(t *testing.T) {
	for _, c := range []struct {
		header string
		action Action
		reason string
		auto   bool
	}{
		{"", Answer, "", false},
		{"Auto-Submitted: no", Answer, "", false},
		{"Auto-Submitted: NO (really); x=y", Answer, "", false},
		{"Auto-Submitted: auto-replied", Store, "auto_submitted", true},
		{"auto-submitted: auto-generated; type=x", Store, "auto_submitted", true},
		{"Auto-Submitted: auto-notified", Store, "auto_submitted", true},
		{"Return-Path: <>", Store, "null_return_path", false},
		{"Return-Path: <anna@example.com>", Answer, "", false},
		{"List-Id: Talk <talk.example.com>", Store, "list", false},
		{"List-Unsubscribe: <mailto:x@example.com>", Person, "list_header", false},
		{"Feedback-ID: a:b:c", Person, "list_header", false},
		{"Precedence: bulk", Store, "bulk", false},
		{"Precedence: list", Store, "bulk", false},
		{"Precedence: junk", Store, "bulk", false},
		{"Precedence: auto_reply", Store, "auto_reply", true},
		{"Precedence: first-class", Answer, "", false},
		{"X-Auto-Response-Suppress: All", Store, "auto_response_suppress", false},
		{"X-Auto-Response-Suppress: DR, OOF", Store, "auto_response_suppress", false},
		{"X-Auto-Response-Suppress: DR, RN", Answer, "", false},
		{"X-Autoreply: yes", Store, "auto_reply", true},
		{"X-Autorespond: x", Store, "auto_reply", true},
		{"X-FTE-Key: 0190f0a0-0000-7000-8000-000000000000:4", Store, "own", false},
		{"From: support+de@fte.test", Store, "own", false},
		{"From: MAILER-DAEMON@example.com", Store, "robot_sender", false},
		{"From: postmaster@example.com", Store, "robot_sender", false},
		{"From: No-Reply@example.com", Store, "robot_sender", false},
		{"From: noreply@example.com", Store, "robot_sender", false},
		{"From: donotreply@example.com", Store, "robot_sender", false},
		{"From: do-not-reply@example.com", Store, "robot_sender", false},
		{"From: bounce@example.com", Store, "robot_sender", false},
		{"From: bounces@example.com", Store, "robot_sender", false},
		{"From: bounce-123@example.com", Store, "robot_sender", false},
		{"From: bounces+x=y@example.com", Store, "robot_sender", false},
		{"From: bouncer@example.com", Answer, "", false},
		{"From: norepl@example.com", Answer, "", false},
		{"Content-Type: multipart/report; report-type=disposition-notification; boundary=x", Store, "report", true},
		{"Subject: Automatic reply: Your ticket", Store, "out_of_office", true},
		{"Subject: Abwesenheitsnotiz", Store, "out_of_office", true},
		{"Subject: Automatische Antwort: AW: Login", Store, "out_of_office", true},
		{"Subject: Réponse automatique : Login", Store, "out_of_office", true},
		{"Subject: Respuesta automática: Login", Store, "out_of_office", true},
		{"Subject: Risposta automatica: Login", Store, "out_of_office", true},
		{"Subject: Resposta automática: Login", Store, "out_of_office", true},
		{"Subject: Automatisch antwoord: Login", Store, "out_of_office", true},
		{"Subject: Odpowiedź automatyczna: Login", Store, "out_of_office", true},
		{"Subject: Otomatik Yanıt: Login", Store, "out_of_office", true},
		{"Subject: رد تلقائي: Login", Store, "out_of_office", true},
		{"Subject: स्वचालित उत्तर: Login", Store, "out_of_office", true},
		{"Subject: 自動返信: Login", Store, "out_of_office", true},
		{"Subject: 自动回复: Login", Store, "out_of_office", true},
		{"Subject: Out of Office Re: Login", Store, "out_of_office", true},
		{"Subject: Out of office settings are broken", Answer, "", false},
		{"Subject: Automatic reply does not work", Answer, "", false},
		{"Subject: Re: Automatic reply: Login", Answer, "", false},
		{"Subject: Away team jerseys", Answer, "", false},
		{"Subject: Abwesenheitsnotiz lässt sich nicht einstellen", Answer, "", false},
		{"Subject: 自動返信メールが届きません", Answer, "", false},
		{"Subject: 自动回复功能坏了", Answer, "", false},
		{"Subject: Urlaub 2026 wird falsch gezeigt", Answer, "", false},
		{"Subject: [Auto-Reply] Login", Store, "out_of_office", true},
		{"Subject: Abwesend bis 16.11.", Store, "out_of_office", true},
		{"Return-Path: <>\nSubject: Automatic reply: Login", Store, "null_return_path", true},
		{"List-Post: <mailto:x@example.com>", Store, "list", false},
	} {
		m := readMail(t, c.header+"\n", "My login fails.\n", ReadConfig{Own: []string{"support+de@fte.test"}})
		require.Equal(t, c.action, m.Action, c.header)
		require.Equal(t, c.reason, m.Reason, c.header)
		require.Equal(t, c.auto, m.AutoReply, c.header)
	}
}

func TestLabelsAreStored(t *testing.T) {
	for _, label := range []string{"SENT", "DRAFT", "SPAM", "TRASH", "CHAT"} {
		m := Read(Source{Labels: []string{"UNREAD", label}, Root: Part{Type: "text/plain", Body: []byte("x"), Header: []Field{{"From", "a@example.com"}}}}, ReadConfig{})
		require.Equal(t, Store, m.Action, label)
	}
}

// TestRobotOpenings: robots that set no header, in every language, and
// customers who mention the same things.
func TestRobotOpenings(t *testing.T) {
	for _, text := range []string{
		"Hello,\n\nI am currently out of the office until Monday with limited access to email.",
		"Thank you for your message. I'm on vacation and will answer when I return.",
		"This is an automated response. We got your mail.",
		"Guten Tag,\nich bin bis zum 12.11. nicht im Büro. In dringenden Fällen: Bob.",
		"Vielen Dank für Ihre Nachricht. Ich bin derzeit im Urlaub.",
		"Ich befinde mich bis 16. November im Urlaub und lese keine E-Mails.",
		"Vielen Dank für Ihre E-Mail. Ich bin ab dem 16.11. wieder erreichbar.",
		"Thanks! I'm away until 16 November.",
		"Ich bin vom 1. bis 5. November nicht im Büro.",
		"Bonjour, je suis en congés jusqu'au 16 novembre inclus.",
		"Hola, no estaré disponible hasta el lunes.",
		"Przebywam na urlopie do 16 listopada.",
		"Ik ben op vakantie tot 16 november.",
		"Bonjour,\nje suis actuellement absente jusqu'au 12.",
		"Hola, estoy fuera de la oficina hasta el lunes.",
		"Buongiorno, sono fuori ufficio fino a lunedì.",
		"Olá, estou de férias até segunda.",
		"Hallo, ik ben momenteel niet op kantoor.",
		"Dzień dobry, jestem na urlopie do poniedziałku.",
		"Merhaba, şu anda ofis dışındayım.",
		"مرحبا، أنا حاليا خارج المكتب حتى الاثنين.",
		"नमस्ते, मैं अभी कार्यालय से बाहर हूँ।",
		"お世話になっております。ただいま休暇をいただいております。",
		"您好，我目前正在休假，周一回来。",
	} {
		m := readMail(t, "Subject: Re: Login\nIn-Reply-To: <x@fte.test>\n", text, ReadConfig{})
		require.Equal(t, "out_of_office", m.Reason, text)
		require.Equal(t, Store, m.Action, text)
	}
	for _, text := range []string{
		"I am on vacation until Monday. Can you change my delivery?",
		"Your office was closed. My parcel is still missing.",
		"Ich war im Urlaub und jetzt geht der Login nicht mehr.",
		"The out of office assistant of your app crashes.",
	} {
		require.Equal(t, Answer, readMail(t, "Subject: Re: Login\n", text, ReadConfig{}).Action, text)
	}
}

// TestWhoWroteIt: GM-13 and its spoofs.
func TestWhoWroteIt(t *testing.T) {
	const other = "Authentication-Results: mx.google.com; spf=pass smtp.mailfrom=x@evil.example; dmarc=none header.from=example.com\n"
	for name, c := range map[string]struct {
		header string
		level  support.Level
		reason string
	}{
		"dmarc passes":                        {passes, 2, ""},
		"nothing is known":                    {"", 1, ""},
		"spf of another domain":               {"Authentication-Results: mx.google.com; spf=pass smtp.mailfrom=x@evil.example\n", 1, ""},
		"dkim of the domain alone":            {"Authentication-Results: mx.google.com; dkim=pass header.i=@example.com\n", 1, ""},
		"dmarc of another domain":             {"Authentication-Results: mx.google.com; dmarc=pass header.from=evil.example\n", 1, ""},
		"dmarc of a domain above":             {"Authentication-Results: mx.google.com; dmarc=pass header.from=com\n", 1, ""},
		"injected below":                      {other + passes, 1, ""},
		"another server's":                    {strings.Replace(passes, "mx.google.com", "mx.evil.example", 1), 1, ""},
		"another server's above":              {"Authentication-Results: mx.evil.example; dmarc=fail header.from=example.com\n" + passes, 2, ""},
		"dmarc fails":                         {"Authentication-Results: mx.google.com; dmarc=fail (p=NONE) header.from=example.com\n", 1, "dmarc_fail"},
		"fails above, passes below":           {"Authentication-Results: mx.google.com; dmarc=fail header.from=example.com\n" + passes, 1, "dmarc_fail"},
		"a result in a comment":               {"Authentication-Results: mx.google.com; spf=pass (google.com: domain of x; dmarc=pass header.from=example.com) smtp.mailfrom=x@evil.example\n", 1, ""},
		"a result in a quoted string":         {"Authentication-Results: mx.google.com; spf=pass smtp.mailfrom=\"a; dmarc=pass header.from=example.com\"@evil.example\n", 1, ""},
		"a comment that does not end":         {"Authentication-Results: mx.google.com; dmarc=pass header.from=example.com (\n", 1, ""},
		"two results":                         {"Authentication-Results: mx.google.com; dmarc=pass header.from=example.com; dmarc=pass header.from=example.com\n", 1, ""},
		"reply-to elsewhere":                  {passes + "Reply-To: x@evil.example\n", 1, ""},
		"reply-to is the sender":              {passes + "Reply-To: \"Anna\" <ANNA@example.com>\n", 2, ""},
		"reply-to is two":                     {passes + "Reply-To: anna@example.com, x@evil.example\n", 1, ""},
		"two From headers":                    {passes + "From: Anna <anna@example.com>\nFrom: x@evil.example\n", 1, "sender_ambiguous"},
		"two From headers, the same":          {passes + "From: anna@example.com\nfrom: anna@example.com\n", 1, "sender_ambiguous"},
		"two addresses":                       {passes + "From: anna@example.com, x@evil.example\n", 1, "sender_ambiguous"},
		"an address as unquoted name":         {passes + "From: boss@example.org <anna@example.com>\n", 1, "sender_ambiguous"},
		"no address":                          {passes + "From: Anna\n", 1, "no_sender"},
		"a null address":                      {passes + "From: <>\n", 1, "no_sender"},
		"IP literal":                          {passes + "From: anna@[192.0.2.1]\n", 1, "no_sender"},
		"an international domain":             {"Authentication-Results: mx.google.com; dmarc=pass header.from=xn--mnchen-3ya.de\nFrom: anna@münchen.de\n", 2, ""},
		"the name is no address of the field": {passes + "From: \"boss@example.org\" <anna@example.com>\n", 2, ""},
	} {
		m := readMail(t, c.header, "My login fails.\n", ReadConfig{})
		require.Equal(t, c.level, m.Level, name)
		require.Equal(t, c.reason, m.Reason, name)
		if c.reason == "" {
			require.Equal(t, Answer, m.Action, name)
			require.NotContains(t, m.ReplyTo, "evil", name)
		} else {
			require.Equal(t, Person, m.Action, name)
		}
		if strings.HasPrefix(c.reason, "sender") || c.reason == "no_sender" {
			require.Zero(t, m.From, name)
		}
	}
}

func TestGmailAddressIsCanonicalAndAnsweredAsWritten(t *testing.T) {
	m := readMail(t, "From: A.nna+x@GoogleMail.com\nAuthentication-Results: mx.google.com; dmarc=pass header.from=googlemail.com\nReply-To: anna@gmail.com\n", "x", ReadConfig{})
	require.Equal(t, support.Address{Kind: support.KindEmail, Value: "anna@gmail.com"}, m.From)
	require.Equal(t, "A.nna+x@googlemail.com", m.ReplyTo)
	require.Equal(t, support.ChannelVerified, m.Level)
}

func TestManyReferences(t *testing.T) {
	var refs strings.Builder
	for i := range 300 {
		fmt.Fprintf(&refs, "\n <%d@example.com>", i)
	}
	m := readMail(t, "In-Reply-To: <299@example.com> (of Monday)\nReferences:"+refs.String()+"\n", "x", ReadConfig{})
	require.Len(t, m.References, 300)
	require.Equal(t, "0@example.com", m.References[0])
	require.Equal(t, "299@example.com", m.InReplyTo)
	require.Equal(t, "m@example.com", m.MessageID)
	require.Equal(t, Answer, m.Action)
}
