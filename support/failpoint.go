package support

// The failpoints: where a process may be made to die, between two durable things.
// Failpoint marks them; FTE_FAILPOINTS names them, in a build with -tags failpoint.
const (
	FailDecoded       = "accept.decoded"   // webhook: a call is authentic and read, Kafka does not have it
	FailPublished     = "accept.published" // webhook: Kafka has the message, its sender has no 200
	FailFetched       = "deliver.fetched"  // intake: a record is read, nobody has resolved or delivered it
	FailDelivered     = "deliver.routed"   // intake: the actor has acknowledged a record, its offset is not marked
	FailDecided       = "commit.decided"   // actor: it has decided, nothing is written
	FailCommitted     = "commit.done"      // actor: the commit is durable, its effects have not begun and nobody has an answer
	FailTurnReported  = "turn.outcome"     // actor: a turn's outcome is back, its commit has not begun
	FailTurnCommitted = "turn.committed"   // actor: the turn and its reply are durable, its effects have not begun
	FailStepBegins    = "step.begins"      // agent: a model or tool call is decided and not begun
	FailStepMade      = "step.made"        // agent: the call has its result, which is not journaled
	FailStepRecorded  = "step.recorded"    // agent: the result is journaled, nothing was made of it
	FailClaimed       = "send.claimed"     // outbox: a reply is claimed, nothing is sent
	FailSent          = "send.sent"        // outbox: the vendor has answered, the row does not say so
	FailLookedUp      = "send.looked_up"   // outbox: the vendor said what became of an unknown send, the row does not
)

// Failpoints lists all of them.
var Failpoints = []string{
	FailDecoded, FailPublished, FailFetched, FailDelivered, FailDecided, FailCommitted, FailTurnReported, FailTurnCommitted,
	FailStepBegins, FailStepMade, FailStepRecorded, FailClaimed, FailSent, FailLookedUp,
}

// Poison is what a message holds whose turn panics, in a build with -tags
// failpoint.
const Poison = "failpoint: poison"
