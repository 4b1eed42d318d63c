package support

// Bug is one safety of the program that a build can be without, so that the chaos
// tester shows that it would notice: -tags chaosbug_NAME plants the one of that
// name. A build has one at most. Any other build has nothing of it: each place
// asks a constant, and the compiler removes what it guards.
type Bug uint8

// The bugs, by their letters in the list of mutations.
const (
	NoBug             Bug = iota
	BugNoVersion          // (a) a commit's fence does not look at the version
	BugMarkEarly          // (b) a record's offset is marked before its message is committed
	BugSendEarly          // (c) a reply is sent before the commit that contains it
	BugAttemptKey         // (d) the key of a reply that is tried again names the attempt
	BugRetryUnknown       // (e) a commit whose outcome is unknown is tried again from memory
	BugNoDedupe           // (f) a message that is stored already is stored again
	BugKeepPending        // (g) a take-over does not cancel pending replies
	BugExpiredPending     // (h) an expired claim goes back to pending, without a look-up
	BugLateVersion        // (i) the version is tested again in a later statement, instead of raising in the first
	BugNoSweeper          // (j) nobody sweeps due timers
)

// Bugs are all of them, in the order of their letters.
var Bugs = []Bug{BugNoVersion, BugMarkEarly, BugSendEarly, BugAttemptKey, BugRetryUnknown, BugNoDedupe, BugKeepPending, BugExpiredPending, BugLateVersion, BugNoSweeper}

// PlantedBug is the bug of this build, NoBug in one that is sound.
const PlantedBug = planted

// Planted tells whether this build has the bug.
func (b Bug) Planted() bool { return b != NoBug && b == planted }

// String is the bug's name, empty for NoBug.
func (b Bug) String() string {
	return [...]string{"", "noversion", "markearly", "sendearly", "attemptkey", "retryunknown", "nodedupe", "keeppending", "expiredpending", "lateversion", "nosweeper"}[b]
}

// Letter is the bug's letter in the list of mutations, a to j.
func (b Bug) Letter() string { return string('a' + rune(b) - 1) }

// Tag is the build tag that plants the bug.
func (b Bug) Tag() string { return "chaosbug_" + b.String() }
