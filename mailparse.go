package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"

	"fte/channel/email"
)

// mostMail is the largest mail that is read, in bytes: Gmail takes no larger
// ones (support.google.com/mail/answer/6584).
const mostMail = 50 << 20

// runMail reads a mail as the e-mail channel would and says what it made of it,
// or {error} where nothing can be read.
func runMail(_ context.Context, args []string, out io.Writer) error {
	f := flags("mail")
	words, err := parseMixed(f, args, 2)
	if err != nil {
		return err
	}
	if len(words) != 2 || words[0] != "parse" {
		return fmt.Errorf("%w: say parse and name a file", errUsage)
	}
	raw, err := readMail(words[1])
	if err != nil {
		json.NewEncoder(out).Encode(object{"error": oneLine(err.Error())})
	} else {
		err = email.WriteParsed(out, raw) // says by itself what is wrong
	}
	if err != nil {
		return fmt.Errorf("read the mail %s: %w", words[1], err)
	}
	return nil
}

func readMail(name string) ([]byte, error) {
	in := io.Reader(os.Stdin)
	if name != "-" {
		file, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer file.Close()
		in = file
	}
	raw, err := io.ReadAll(io.LimitReader(in, mostMail+1))
	if err == nil && len(raw) > mostMail {
		err = fmt.Errorf("it is larger than %d bytes", mostMail)
	}
	return raw, err
}
