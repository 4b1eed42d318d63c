package support

import "time"

// Mode is who answers a customer, tables.md "customer mode".
type Mode string

// The modes of a customer.
const (
	ModeBot    Mode = "bot"
	ModeHeld   Mode = "held"
	ModePerson Mode = "person"
)

// TurnState is where a turn stands, tables.md "turn".
type TurnState string

// The states of a turn.
const (
	TurnClaimed     TurnState = "claimed"
	TurnDone        TurnState = "done"
	TurnSuperseded  TurnState = "superseded"
	TurnQuarantined TurnState = "quarantined"
	TurnAbandoned   TurnState = "abandoned"
)

// TurnOutcome is how a turn that is done ended.
type TurnOutcome string

// The outcomes of a turn.
const (
	Answered     TurnOutcome = "answered"
	Escalated    TurnOutcome = "escalated"
	PersonAnswer TurnOutcome = "person"
	Silent       TurnOutcome = "silent"
)

// Turn is one run of the agent, a person or the system over one or more inbound
// messages.
type Turn struct {
	Customer  CustomerID
	Turn      int64 // 1..n per customer
	By        Author
	Inputs    []int64 // seqs, ascending
	InputsOf  CustomerID
	State     TurnState
	Outcome   TurnOutcome // empty until done
	ReplySeq  int64       // 0 without a reply
	Faults    int         // panics, our own errors, the shell's deadline
	Losses    int         // owners that died while it ran
	Reason    string
	ClaimedAt time.Time // by the database
	EndedAt   time.Time
	Steps     []Step // on load of a claimed turn: its journal, in order
}

// Step is one journaled step of a turn: a model call or a tool call with its
// result. A recorded step is never executed again.
type Step struct {
	Step         int    `json:"step"` // 1..n per turn, contiguous
	Kind         string `json:"kind"` // "model" or "tool"
	Name         string `json:"name"` // model id or tool name
	Request      []byte `json:"request,omitempty"`
	Result       []byte `json:"result,omitempty"`
	TokensIn     int    `json:"tokens_in,omitempty"`
	TokensOut    int    `json:"tokens_out,omitempty"`
	CostMicroUSD int64  `json:"cost_microusd,omitempty"`
}

// Scope is the DisclosureScope of channels.md §4.1: which stored messages may
// enter a prompt. It is built from the lowest level of the turn's inputs and
// enforced where history is read, never afterwards.
type Scope struct {
	Level   Level
	Channel Channel
	Thread  string
	Ticket  string
}

// TurnInput is all an agent may know of one turn. The customer, the ticket and
// the channel are bound here, never by the model.
type TurnInput struct {
	Customer   CustomerID
	Turn       int64
	Channel    Channel
	Ticket     Ticket
	Inputs     []Message // the unanswered messages, oldest first
	History    []Message // at most 20, oldest first, within Scope, without Inputs
	Steps      []Step    // journal of an earlier run of the same turn
	Scope      Scope
	FirstReply bool          // nothing of ours was sent in this conversation yet: disclose the AI (LL-12)
	FollowUp   bool          // an acknowledgement of an outage went out before (LL-13)
	Waited     time.Duration // since the turn was first claimed
	Person     string        // who is promised to answer after an escalation; empty: the team
	Link       string        // page on which this customer gets a code that links WhatsApp (ID-05); offered where not empty
	AskEarlier bool          // first contact by WhatsApp: ask once whether the person wrote before
}

// Reason is why a message was handed to a person.
type Reason string

// The reasons of an escalation, channels.md LL-09, LL-13 and tables.md.
const (
	ReasonPricing       Reason = "pricing"
	ReasonRefund        Reason = "refund"
	ReasonLegal         Reason = "legal"
	ReasonAngry         Reason = "angry"
	ReasonHuman         Reason = "human_request"
	ReasonSafety        Reason = "safety"
	ReasonSearchFailed  Reason = "search_failed" // two searches found nothing
	ReasonModelFailed   Reason = "model_failed"
	ReasonToolFailed    Reason = "tool_failed"
	ReasonLimits        Reason = "limits" // LL-03 exceeded
	ReasonOutput        Reason = "output_check"
	ReasonSendFailed    Reason = "send_failed"
	ReasonQuarantined   Reason = "quarantined"
	ReasonUnreadable    Reason = "unreadable" // media or a form of mail we cannot read
	ReasonSwitchedOff   Reason = "agent_off"
	ReasonAgentDecision Reason = "agent"
	ReasonRate          Reason = "rate"
)

// Outcome is what the agent made of a turn. Text is final: it passed the output
// checks and fits the channel; Units is its count by channels.md LN-02.
type Outcome struct {
	Kind     OutcomeKind `json:"kind"`
	Text     string      `json:"text,omitempty"`
	Subject  string      `json:"subject,omitempty"`
	Units    int         `json:"units,omitempty"`
	Reason   Reason      `json:"reason,omitempty"`  // when escalated
	Also     []Reason    `json:"also,omitempty"`    // further reasons
	Urgency  string      `json:"urgency,omitempty"` // low, medium, high
	Category string      `json:"category,omitempty"`
	Priority string      `json:"priority,omitempty"`
	Verify   []Address   `json:"verify,omitempty"` // identity verifications to offer
}

// OutcomeKind is what the actor does with an Outcome.
type OutcomeKind string

// The kinds of outcome.
const (
	OutcomeAnswer   OutcomeKind = "answer"   // Text answers
	OutcomeEscalate OutcomeKind = "escalate" // Text acknowledges; a person gets the ticket
	OutcomeDefer    OutcomeKind = "defer"    // Text acknowledges an outage; the turn stays claimed and is tried again (LL-13)
	OutcomeSilent   OutcomeKind = "silent"   // nothing is said
)

// Notice names a fixed text of the system.
type Notice string

// The fixed texts.
const (
	NoticeQuarantined Notice = "quarantined" // we could not process it; a person will
	NoticeHeld        Notice = "held"        // filed; a person will answer
	NoticeSwitchedOff Notice = "agent_off"   // the agent is off; a person will answer
	NoticeSendFailed  Notice = "send_failed" // told on the console only; never sent
	NoticeStillHeld   Notice = "still_held"  // the promised time passed
	NoticeOptOut      Notice = "opt_out"
	NoticeVerify      Notice = "verify"     // mail with Fill.Code and Fill.Link: prove that this address is yours (ID-07)
	NoticeVerified    Notice = "verified"   // on the form's ticket: the address is proved; Fill.Earlier acknowledges earlier contact
	NoticeLinkAsk     Notice = "link_ask"   // WhatsApp: link to the e-mail Fill.Address? Reply YES (ID-06)
	NoticeLinked      Notice = "linked"     // WhatsApp: it is linked now
	NoticeLinkedMail  Notice = "linked_by"  // to the e-mail side: a WhatsApp number was linked; not you? Fill.Link (ID-05)
	NoticeLinkFailed  Notice = "link_fails" // WhatsApp: the code is wrong, used or too old, or the two cannot be linked by themselves
)

// Fill is what a fixed text of the system is filled with.
type Fill struct {
	Channel   Channel
	Reference string // what customers see of the ticket
	First     bool   // nothing of ours was sent in the conversation yet
	Code      string // six digits
	Link      string // an absolute URL
	Address   string // masked: first character and the domain's initial
	Earlier   string // a sentence that acknowledges earlier contact; empty where there was none
}

// Text is a text counted for a channel, channels.md LN-02.
type Text struct {
	Subject string // of a mail that answers none; else empty
	Body    string
	Units   int
}
