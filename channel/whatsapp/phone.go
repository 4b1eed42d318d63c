package whatsapp

import (
	"fmt"
	"regexp"

	"github.com/nyaruka/phonenumbers"
)

// aliases are numbers that WhatsApp writes in another form than the plan of their
// country, ID-02: Mexico's mobiles keep the 1 that was abolished in 2019,
// Brazil's older ones lack the ninth digit, Argentina's mobiles have a 9 that
// the same line's number has not.
var aliases = []struct {
	form *regexp.Regexp
	as   string
}{
	{regexp.MustCompile(`^\+521(\d{10})$`), "+52$1"},
	{regexp.MustCompile(`^\+55(\d{2})([6-9]\d{7})$`), "+55${1}9$2"},
	{regexp.MustCompile(`^\+549(\d{10})$`), "+54$1"},
}

// CanonicalPhone returns the one E.164 form under which a number that WhatsApp
// named is known. What it refuses is no number anybody can have. Messages go to
// the form that WhatsApp gave, not to this one.
func CanonicalPhone(number string) (string, error) {
	parsed, err := phonenumbers.Parse(number, "ZZ")
	if err != nil {
		return "", fmt.Errorf("read phone number: %w", err)
	}
	if parsed.GetExtension() != "" {
		return "", fmt.Errorf("read phone number: an extension cannot be reached")
	}
	e164 := phonenumbers.Format(parsed, phonenumbers.E164)
	for _, a := range aliases {
		if a.form.MatchString(e164) {
			return a.form.ReplaceAllString(e164, a.as), nil
		}
	}
	if !phonenumbers.IsPossibleNumber(parsed) {
		return "", fmt.Errorf("read phone number: no country has numbers of this length")
	}
	return e164, nil
}
