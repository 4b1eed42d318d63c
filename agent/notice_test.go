package agent_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"fte/agent"
	"fte/support"
)

const verifyPage = "https://support.fieldnote.example/verify/J3mJr0Uq1y4tq3mZk8mXw2v9o5b7c1d3e6f8g0h2i4k"

// The texts about proofs of identity, each as the customer reads it.
func TestTextsOfIdentity(t *testing.T) {
	a := newAgent(t, config(nil))
	ref := support.TicketReference(ticketID)
	cases := map[string]struct {
		notice  support.Notice
		fill    support.Fill
		subject string
		holds   []string
		lacks   []string
	}{
		"a mail with code and link": {support.NoticeVerify, support.Fill{Channel: support.Email, Code: "123456", Link: verifyPage}, "Confirm your e-mail address",
			[]string{"Your code is 123456.", verifyPage, "10 minutes", "30 minutes", "If this was not you", "Kind regards,\nFieldnote Support"}, []string{"Robin", "AI", "Next step"}},
		"a mail with the link alone": {support.NoticeVerify, support.Fill{Channel: support.Email, First: true, Link: verifyPage}, "Confirm your e-mail address", []string{verifyPage}, []string{"code is", "Robin"}},
		"a proof by WhatsApp":        {support.NoticeVerify, support.Fill{Channel: support.WhatsApp, Code: "123456", Link: verifyPage}, "", []string{"123456", verifyPage, "Not you?"}, nil},
		"proved, with earlier contact": {support.NoticeVerified, support.Fill{Channel: support.WebForm, Reference: ref, Earlier: "You wrote to us about exporting data by WhatsApp yesterday."}, "",
			[]string{"is confirmed", "You wrote to us about exporting data by WhatsApp yesterday.", ref}, nil},
		"proved, without":     {support.NoticeVerified, support.Fill{Channel: support.WebForm, Reference: ref}, "", []string{"is confirmed"}, []string{"You wrote"}},
		"shall it be linked?": {support.NoticeLinkAsk, support.Fill{Channel: support.WhatsApp, First: true, Address: "j•••@e•••.com"}, "", []string{"I'm Robin, Fieldnote's AI assistant.", "j•••@e•••.com", "Reply YES"}, nil},
		"linked":              {support.NoticeLinked, support.Fill{Channel: support.WhatsApp, Earlier: "You wrote to us about billing by e-mail last week."}, "", []string{"linked", "last week."}, nil},
		"linked, by mail": {support.NoticeLinkedMail, support.Fill{Channel: support.Email, Link: verifyPage}, "WhatsApp was linked to your e-mail address",
			[]string{"If it was not you", "7 days", verifyPage, "Fieldnote Support"}, []string{"Robin"}},
		"not linked": {support.NoticeLinkFailed, support.Fill{Channel: support.WhatsApp}, "", []string{"did not work", "fresh code"}, nil},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			v := a.Voice(c.notice, c.fill)
			require.Equal(t, c.subject, v.Subject)
			for _, s := range c.holds {
				require.Contains(t, v.Body, s)
			}
			for _, s := range c.lacks {
				require.NotContains(t, v.Body, s)
			}
			require.Equal(t, v, a.Voice(c.notice, c.fill), "the same each time")
		})
	}
	require.Zero(t, a.Voice(support.NoticeVerify, support.Fill{Channel: support.Email}), "a proof of nothing")
	require.Zero(t, a.Voice(support.NoticeLinkAsk, support.Fill{Channel: support.WhatsApp}))
	require.Zero(t, a.Voice(support.NoticeLinkedMail, support.Fill{Channel: support.Email}))
}

// Each of them fits each channel, whole, whatever it is filled with.
func TestTextsOfIdentityFit(t *testing.T) {
	a := newAgent(t, config(nil))
	for _, n := range []support.Notice{support.NoticeVerify, support.NoticeVerified, support.NoticeLinkAsk, support.NoticeLinked, support.NoticeLinkedMail, support.NoticeLinkFailed} {
		for _, ch := range support.Channels {
			for _, first := range []bool{true, false} {
				for _, earlier := range []string{"", "You wrote to us about " + strings.Repeat("x", 60) + " through our web form some months ago.", strings.Repeat("y ", 400)} {
					v := a.Voice(n, support.Fill{Channel: ch, Reference: support.TicketReference(ticketID), First: first, Code: "654321", Link: verifyPage, Address: "j•••@e•••.com", Earlier: earlier})
					require.NotEmpty(t, v.Body)
					require.LessOrEqual(t, v.Units, ch.Limit())
					require.Equal(t, agent.Units(ch, v.Body), v.Units)
					require.NotContains(t, v.Body, "…", "nothing is cut")
					require.NotContains(t, v.Body, "%!")
					require.Equal(t, ch == support.Email && (n == support.NoticeVerify || n == support.NoticeLinkedMail), v.Subject != "")
				}
			}
		}
	}
}
