package chaos

var storeNemeses []Nemesis
