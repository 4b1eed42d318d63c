package chaos

var poisonNemeses []Nemesis
