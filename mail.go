package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"fte/actors/mailbox"
	"fte/channel/email"
	"fte/ingress/webhook"
	"fte/persistence"
)

// This file puts together the e-mail channel of a process.

// openMail makes the client of our mailbox, where there is one; what uses it is
// made by role.
func (n *node) openMail(context.Context) (err error) {
	if !n.cfg.mails() {
		return nil
	}
	n.gmail, err = email.NewClient(email.ClientConfig{
		Mailbox: n.cfg.GmailMailbox, BaseURL: n.cfg.GmailURL, ClientID: n.cfg.GmailClientID, ClientSecret: n.cfg.GmailClientSecret, RefreshToken: n.cfg.GmailRefreshToken,
		TokenURL: n.cfg.GmailTokenURL, Topic: n.cfg.GmailTopic, UnitsPerMinute: n.cfg.GmailUnits, Client: n.dial.client(0), Scale: n.cfg.TimeScale, Log: n.log, Registerer: n.metrics,
	})
	return err
}

// newMailSender makes what sends our mail.
func (n *node) newMailSender(rows *persistence.Outbox) (*email.Sender, error) {
	return email.NewSender(email.SenderConfig{Client: n.gmail, Drafts: rows, Name: n.cfg.CompanyName + " Support", Now: n.cfg.now, Log: n.log})
}

// openMailboxes makes the owner of our mailbox, which follows its history.
func (n *node) openMailboxes(rows *persistence.Outbox) error {
	if n.gmail == nil {
		return nil
	}
	var own []string
	for _, alias := range append([]string{n.cfg.GmailMailbox}, n.cfg.GmailAliases...) {
		a, err := canonicalEmail(alias)
		if err != nil {
			return fmt.Errorf("read the settings: GMAIL_MAILBOX, GMAIL_ALIASES: %w", err)
		}
		own = append(own, a)
	}
	known := persistence.NewDirectory(n.pool, n.keys, n.log.Named("directory")).Known
	box, err := email.NewMailbox(email.MailboxConfig{
		Client: n.gmail, Read: func(s email.Source) email.Mail { return email.Read(s, email.ReadConfig{Own: own}) },
		Receipts: rows, Sent: rows, Suppressions: persistence.NewSuppressions(n.pool, n.keys), Replies: rows,
		Known: known, Blobs: persistence.NewBlobs(n.pool, n.keys), Now: n.cfg.now, Log: n.log,
	})
	if err != nil {
		return err
	}
	n.mailboxes, err = mailbox.NewMailboxes(mailbox.MailboxConfig{
		Accounts: persistence.NewAccounts(n.pool), Publisher: n.publisher, Mails: map[string]mailbox.Mail{n.gmail.Mailbox(): box},
		Rates: n.cfg.RateLimits == "on", Known: known, Scale: n.cfg.TimeScale, Logger: n.log.Named("mailbox"), Registerer: n.metrics,
	})
	return err
}

// boardMailbox notes from when on mail is answered, if that is not noted yet: what
// lies in the mailbox from before is stored and left alone (channels.md GM-07).
func boardMailbox(ctx context.Context, accounts *persistence.Accounts, mailbox string) error {
	_, err := accounts.LoadMailbox(ctx, strings.ToLower(mailbox))
	return err
}

// newPush takes Gmail's notifications.
func (n *node) newPush() (webhook.Mount, error) {
	h, err := email.NewPush(email.PushConfig{
		Mailboxes: []string{n.gmail.Mailbox()}, Subscription: n.cfg.GmailSubscription, Audience: n.cfg.GmailAudience, Email: n.cfg.GmailPushEmail, CertsURL: n.cfg.GmailCertsURL,
		Hinter: mailbox.NewHints(n.member), Client: n.dial.client(10 * time.Second), Now: n.cfg.now, Log: n.log, Registerer: n.metrics,
	})
	return webhook.Mount{Handler: h, Limit: 64 << 10}, err
}

// mailHealth is how the e-mail channel is, besides what all channels need. Gmail
// is asked at most each half minute.
func (n *node) mailHealth() webhook.Check {
	accounts := persistence.NewAccounts(n.pool)
	var mu sync.Mutex // guards asked and err
	var asked time.Time
	var err error
	return func(ctx context.Context) (webhook.Condition, string) {
		mu.Lock()
		defer mu.Unlock()
		if time.Since(asked) > 30*time.Second {
			soon, cancel := context.WithTimeout(ctx, time.Second)
			err = n.gmail.Check(soon)
			cancel()
			asked = time.Now()
		}
		if ok, why := n.gmail.Healthy(); !ok {
			return webhook.Down, why
		}
		if err != nil {
			return webhook.Degraded, "Gmail does not answer: mail is fetched and sent later"
		}
		soon, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		if box, err := accounts.Mailbox(soon, n.gmail.Mailbox()); err == nil && n.cfg.GmailTopic != "" && box.WatchEnds.Sub(box.Now) < 24*time.Hour {
			return webhook.Degraded, "Gmail's notifications end or have ended: mail is fetched by polling"
		}
		return webhook.Up, ""
	}
}

// canonicalEmail is the form in which addresses are compared.
func canonicalEmail(s string) (string, error) {
	canonical, _, err := email.CanonicalEmail(s)
	return canonical, err
}
