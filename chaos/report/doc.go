// Package report writes report.html: what a run of the chaos tester showed, on one
// page that opens from disk, without a server and without the network. The page
// holds no text and no address of a customer, only the ids under which the raw
// files beside it have them.
//
// Everything is counted, sorted into buckets and drawn here; the page's script
// only moves the focus and zooms. A run of a thousand faults and fifty thousand
// messages makes a page below five megabytes.
package report
