package outbox_test

import (
	"errors"
	"testing"
	"time"

	"fte/channel/outbox"
	"fte/support"

	"github.com/stretchr/testify/require"
)

var waits = outbox.Waits{Retry: time.Second, Look: time.Minute, Relook: 5 * time.Second}

func TestAfterSend(t *testing.T) {
	fail := func(e support.SendError) error { e.Code = "c"; return &e }
	cases := map[string]struct {
		row  support.Outbound
		err  error
		want support.Settlement
	}{
		"accepted":                            {support.Outbound{}, nil, support.Settlement{To: support.OutAccepted, ProviderID: "SM1"}},
		"certainly not sent":                  {support.Outbound{}, fail(support.SendError{Down: true}), support.Settlement{To: support.OutPending, Error: "c", RetryIn: time.Second}},
		"the vendor asks for more time":       {support.Outbound{}, fail(support.SendError{RetryIn: 6 * time.Second}), support.Settlement{To: support.OutPending, Error: "c", RetryIn: 6 * time.Second}},
		"an answer that may heal":             {support.Outbound{Refusals: 8}, fail(support.SendError{Refusal: true}), support.Settlement{To: support.OutPending, Error: "c", Refusal: true, RetryIn: time.Second}},
		"the tenth such answer":               {support.Outbound{Refusals: 9}, fail(support.SendError{Refusal: true}), support.Settlement{To: support.OutDead, Error: "c", Refusal: true}},
		"a vendor that is away uses up none":  {support.Outbound{Refusals: 9, Attempt: 500}, fail(support.SendError{Down: true}), support.Settlement{To: support.OutPending, Error: "c", RetryIn: time.Second}},
		"not sent and a day old":              {support.Outbound{Age: 24 * time.Hour}, fail(support.SendError{Down: true}), support.Settlement{To: support.OutDead, Error: "c"}},
		"permanent":                           {support.Outbound{}, fail(support.SendError{Permanent: true}), support.Settlement{To: support.OutFailed, Error: "c"}},
		"unknown is looked up":                {support.Outbound{}, fail(support.SendError{Unknown: true, Down: true}), support.Settlement{To: support.OutUnknown, Error: "c", RetryIn: time.Minute}},
		"Retry-After puts the look-up off":    {support.Outbound{}, fail(support.SendError{Unknown: true, LookIn: time.Hour}), support.Settlement{To: support.OutUnknown, Error: "c", RetryIn: time.Hour}},
		"unknown and a day old stays unknown": {support.Outbound{Age: 24 * time.Hour}, fail(support.SendError{Unknown: true}), support.Settlement{To: support.OutUnknown, Error: "c", RetryIn: time.Minute}},
		"an error nobody knows is unknown":    {support.Outbound{}, errors.New("?"), support.Settlement{To: support.OutUnknown, Error: "unknown", RetryIn: time.Minute}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) { require.Equal(t, c.want, outbox.AfterSend(c.row, "SM1", c.err, waits)) })
	}
}

func TestAfterLookup(t *testing.T) {
	found := support.Lookup{Found: true, ProviderID: "SM1", State: support.OutSent}
	cases := map[string]struct {
		row   support.Outbound
		found support.Lookup
		err   error
		want  support.Settlement
	}{
		"found":                               {support.Outbound{}, found, nil, support.Settlement{To: support.OutSent, ProviderID: "SM1"}},
		"found with a bad end":                {support.Outbound{}, support.Lookup{Found: true, ProviderID: "SM1", State: support.OutUndelivered, Code: "63016"}, nil, support.Settlement{To: support.OutUndelivered, ProviderID: "SM1", Error: "63016"}},
		"found after a day":                   {support.Outbound{Age: 25 * time.Hour}, found, nil, support.Settlement{To: support.OutSent, ProviderID: "SM1"}},
		"absent is sent again":                {support.Outbound{}, support.Lookup{}, nil, support.Settlement{To: support.OutPending, Resend: true}},
		"absent again is a person's":          {support.Outbound{Resends: 1}, support.Lookup{}, nil, support.Settlement{To: support.OutDead, Error: "not found"}},
		"a look-up that fails says nothing":   {support.Outbound{Resends: 1}, support.Lookup{}, errors.New("?"), support.Settlement{To: support.OutUnknown, RetryIn: 5 * time.Second}},
		"a look-up that fails says not found": {support.Outbound{}, found, errors.New("?"), support.Settlement{To: support.OutUnknown, RetryIn: 5 * time.Second}},
		"absent and a day old":                {support.Outbound{Age: 24 * time.Hour}, support.Lookup{}, nil, support.Settlement{To: support.OutDead, Error: "too late"}},
		"not sure yet":                        {support.Outbound{}, support.Lookup{Again: 10 * time.Second, Code: "seen"}, nil, support.Settlement{To: support.OutUnknown, Error: "seen", RetryIn: 10 * time.Second}},
		"not sure and a day old":              {support.Outbound{Age: 24 * time.Hour}, support.Lookup{Again: 10 * time.Second}, nil, support.Settlement{To: support.OutDead, Error: "too late"}},
		"kept unsent by the vendor":           {support.Outbound{Resends: 99}, support.Lookup{Unsent: true, Code: "resend"}, nil, support.Settlement{To: support.OutPending, Error: "resend", Resend: true}},
		"kept unsent, and a day old":          {support.Outbound{Age: 24 * time.Hour}, support.Lookup{Unsent: true}, nil, support.Settlement{To: support.OutDead, Error: "too late"}},
		"nothing left to try":                 {support.Outbound{}, support.Lookup{Gone: true}, nil, support.Settlement{To: support.OutDead, Error: "not found"}},
		"fails and a day old":                 {support.Outbound{Age: 24 * time.Hour}, support.Lookup{}, errors.New("?"), support.Settlement{To: support.OutDead, Error: "too late"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) { require.Equal(t, c.want, outbox.AfterLookup(c.row, c.found, c.err, 1, waits)) })
	}
	require.Equal(t, support.Settlement{To: support.OutPending, Resend: true}, outbox.AfterLookup(support.Outbound{Resends: 9}, support.Lookup{}, nil, 100, waits), "a draft that is still there")
}
