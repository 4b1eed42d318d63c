package chaos

var vendorNemeses []Nemesis
