package cluster

import "time"

// Judge lets tests drive the judge by a clock of their own.
type Judge struct{ j *judge }

// NewJudge returns the judge of a member.
func NewJudge(me string, heartbeat, lease time.Duration) Judge {
	return Judge{&judge{me: me, heartbeat: heartbeat, lease: lease}}
}

func (j Judge) Activated(now time.Time)                         { j.j.activated(now) }
func (j Judge) Renewed(began, now time.Time, gap time.Duration) { j.j.renewed(began, now, gap) }
func (j Judge) May(now time.Time) bool                          { return j.j.may(now) }
func (j Judge) Holds(now time.Time) bool                        { return j.j.holds(now) }
func (j Judge) Verdicts(now time.Time, ms []Member) (ids, cause []string) {
	for _, v := range j.j.verdicts(now, ms) {
		ids, cause = append(ids, v.member.ID), append(cause, v.cause)
	}
	return ids, cause
}

// Asked is how many messages of its own, pings among them, a member sent.
func (n *Node) Asked() uint64 { return n.transport.last.Load() }
