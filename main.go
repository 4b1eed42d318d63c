// Command fte is the Customer Success Digital FTE: one static binary that is
// every process of the system, and its operator's tools. main.go is the table of
// commands, config.go turns the environment into one Config a package, serve.go
// puts the parts together.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

// command is one word after "fte". run returns nil for exit 0; an errUsage for
// 2; any other error for 1.
type command struct {
	name, args, what string
	run              func(ctx context.Context, args []string, out io.Writer) error
}

// errUsage marks wrong use: exit code 2.
var errUsage = errors.New("wrong use")

func commands() []command {
	return append([]command{
		{"dev", "[-dir .fte] [-http ADDR] [-sim ADDR] [-workers N] [-apis N] [-restart] [-model local|sim|openai] [-open] [-reset]", "everything on one machine, no accounts needed", runDev},
		{"serve", "-run webhook,intake,actors,outbox,console", "one node, settings from the environment", runServe},
		{"migrate", "up|status [-dir .fte]", "schema and topics", runMigrate},
		{"learn", "DIR [-dir .fte]", "load knowledge from markdown", runLearn},
		{"sim", "[-addr ADDR] [-dir DIR] [-edge ADDR]", "the simulated vendors alone", runSim},
		{"broker", "[-addr ADDR] [-dir DIR]", "the embedded Kafka-protocol broker alone (development)", runBroker},
		{"members", "[-watch] [-json] [-dir .fte]", "who is in the cluster", runMembers},
		{"who", "ID|ADDRESS|MESSAGE|TICKET [-json] [-dir .fte]", "who owns a customer, and what became of a message", runWho},
		{"chaos", "run [-seed N] [-duration 60s] [-profile faults|day] [-faults N1,N3] [-report DIR]|check DIR|list", "hurt a system of its own and judge whether every message was answered once", runChaos},
		{"dlq", "list|show ID|replay ID|purge ID [-dir .fte]", "dead letters", runDLQ},
	}, operatorCommands()...)
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run is main without the process: it returns the exit code.
func run(ctx context.Context, args []string, out, errs io.Writer) int {
	if len(args) == 0 || args[0] == "help" || args[0] == "-h" || args[0] == "--help" {
		if len(args) == 0 {
			usage(errs)
			return 2
		}
		usage(out)
		return 0
	}
	for _, c := range commands() {
		if c.name != args[0] {
			continue
		}
		err := c.run(ctx, args[1:], out)
		var help helpAsked
		var coded exit
		switch {
		case err == nil:
			return 0
		case errors.As(err, &help):
			fmt.Fprintf(out, "usage: fte %s %s\n%s\n", c.name, c.args, c.what)
			help.flags.SetOutput(out)
			help.flags.PrintDefaults()
			return 0
		case errors.Is(err, errUsage):
			fmt.Fprintf(errs, "fte %s: %v; usage: fte %s %s\n", c.name, err, c.name, c.args)
			return 2
		case errors.As(err, &coded):
			fmt.Fprintf(errs, "fte %s: %s\n", c.name, oneLine(err.Error()))
			return coded.code
		default:
			fmt.Fprintf(errs, "fte %s: %s\n", c.name, oneLine(err.Error()))
			return 1
		}
	}
	fmt.Fprintf(errs, "fte: there is no command %q; usage: fte COMMAND, and fte help lists them\n", args[0])
	return 2
}

// oneLine joins the lines of an error that a library spread over several.
func oneLine(s string) string {
	lines := strings.FieldsFunc(s, func(r rune) bool { return r == '\n' || r == '\r' })
	for i, l := range lines {
		lines[i] = strings.TrimSpace(l)
		if i < len(lines)-1 && !strings.HasSuffix(lines[i], ":") {
			lines[i] += ";"
		}
	}
	return strings.Join(lines, " ")
}

func usage(w io.Writer) {
	fmt.Fprintln(w, "usage: fte COMMAND")
	for _, c := range commands() {
		fmt.Fprintf(w, "  %-8s %s\n           %s\n", c.name, c.what, c.args)
	}
}

// helpAsked is returned for -h: run prints the command's flags.
type helpAsked struct{ flags *flag.FlagSet }

func (helpAsked) Error() string { return flag.ErrHelp.Error() }

// flags makes a flag set whose errors are wrong use.
func flags(name string) *flag.FlagSet {
	f := flag.NewFlagSet("fte "+name, flag.ContinueOnError)
	f.SetOutput(io.Discard)
	return f
}

// parseMixed parses flags that may stand before, between and after the words.
func parseMixed(f *flag.FlagSet, args []string, most int) (words []string, err error) {
	for rest := args; ; {
		if err := parse(f, rest, len(rest)); err != nil {
			return nil, err
		}
		if f.NArg() == 0 {
			break
		}
		words, rest = append(words, f.Arg(0)), f.Args()[1:]
	}
	if len(words) > most {
		return nil, fmt.Errorf("%w: unexpected %q", errUsage, words[most])
	}
	return words, nil
}

// parse parses args and refuses more than most positional ones.
func parse(f *flag.FlagSet, args []string, most int) error {
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return helpAsked{f}
		}
		return fmt.Errorf("%w: %v", errUsage, err)
	}
	if f.NArg() > most {
		return fmt.Errorf("%w: unexpected %q", errUsage, f.Arg(most))
	}
	return nil
}
