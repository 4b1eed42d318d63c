package agent

import "fte/support"

// broad are single words of a subject. A word alone is only a signal: it decides
// where the message speaks of nothing in the product that could bear that name
// (channels.md §10.1).
var broad = []subject{
	{support.ReasonLegal, phrases(`\b(my|our) (consumer )?rights\b`, `\b(records|data|information) (that )?you (keep|hold|have|store) (about|on|of) (me|us)\b`, `\b(lawyers?|attorneys?|solicitors?|legal(ly)?|lawsuits?|gdpr|ccpa|hipaa|liability|liable|compliance|compliant|contracts?|contractual|regulators?|regulatory|police|prosecut\w+|press charges|ombudsman|arbitration|jurisdiction)\b`, `\b(delete|erase|forget|remove) everything (\w+ ){0,2}(about me|about us|of mine|i ever)\b`)},
	{support.ReasonRefund, phrases(`\b(two|three|double|duplicate|multiple) (payments|charges|debits)\b`, `\bpayments? (returned|back|reversed)\b`, `\bcredit for the\b`, `\b(refund\w*|reimburs\w+|overcharg\w+|overbill\w+|deducted|debited|chargebacks?|compensat\w+)\b`, `\bmoney (\w+ ){0,6}back\b`, `\b(undo|revoke|stop|reverse|cancel|return) (\w+ ){0,3}(payment|charge|transaction|debit)\b`)},
	{support.ReasonPricing, phrases(`\b(reduced|special|better|lower|preferential) (rates?|terms)\b`, `\bpay ?\?`, `\b(formal|binding|written|commercial) offer\b`, `\bprocurement\b`, `\b(price\w*|pricing|pric(e)?y|costs?|costly|fees?|quotes?|quotation|discount\w*|deals?|cheap\w*|expensive|afford\w*|budget|estimates?|how much|overpay\w*|overpriced|paying|tariff)\b`, `\b(buy|buying|purchas\w+|order|ordering|need|add|get) (\w+ ){0,3}(licen[cs]es?|seats?)\b`, `\b(figures?|numbers?|terms|offer) for (a |an |the )?(\w+ )?(plan|contract|subscription|licen[cs]es?|seats?)\b`,
		`\b(teuer|billig\w*|kostet|kosten|preis\w*)\b`, `\b(couter?|coute|cher|chere)\b`, `\b(caro|barato|cuesta|cuestan)\b`, `\b(costoso|economico)\b`, `\b(custa|custo)\b`, `\b(duur|goedkoop)\b`, `\b(drogi|drogo|tani\w*|koszt\w*)\b`, `\b(pahali|ucuz)\b`)},
	{support.ReasonHuman, phrases(`\bcall-?back\b`, `\b(actual|real|living) (employee|person|staff|colleague|support)\b`, `\bautomated (replies|reply|answers?|messages?|responses?)\b`, `\b(humans?|representative|supervisor|real person|operator|customer (service|care)|live chat|hotline)\b`, `\b(any ?body|any ?one|some ?body|some ?one|person) (\w+ )?(real|human|alive|there|here|who (understands|knows|can help|cares|listens)|on the phone|competent|else to help)\b`,
		`\b(telefon|telephone|telefono|telefone|telefoon|telefonie|telefonda)\b`)},
	{support.ReasonAngry, phrases(`\b(most|so|very|really) frustrating\b`, `\blost (all |any |every )?(confidence|trust|faith)\b`, `\benough (of|with) (the|your|these|this)\b`, `\b(ridiculous|terrible|horrible|awful|pathetic|useless|worst|unacceptable|disgusting|disgrace\w*|regret|ruined|hopeless|outrageous|shame(ful)?|nonsense|furious|angry|hate|liars?|scam\w*|frauds?|fraudulent|stupid|idiot\w*|rude|insult\w*|appalling|dreadful|garbage|rubbish|trash service)\b`, `\bthanks for nothing\b`, `\b(tired|sick) of (this|your|you|these|being|the)\b`)},
	{support.ReasonSafety, phrases(`\b(suicid\w*|self-harm\w*)\b`, `\b(want|wish) (it all|everything|this all|my life) to (end|be over|stop)\b`, `\b(can'?t|cannot) (go on|do this any ?more|take (it|this|life) any ?more)\b.{0,40}\b(end|die|over|life|alone|living)\b`)},
}

// product are the things that bear the subjects' names in the product.
var product = phrases(
	`\b(columns?|fields?|cards?|boards?|formulas?|labels?|filters?|templates?|reports?|exports?|imports?|csv|currency|charts?|sort|widgets?|api|rows?|summar\w+|tags?|tasks?|checklists?|automations?|automate|rules?|workflows?|webhooks?|attach\w*|assign\w*|invite|owners?|roles?|workspaces?|members?|guests?|log|logs|audit|mention|comments?|reminders?|files?|pdf|slack|calendar|sprints?|views?|dropdown|format|print|paper|time ?zones?|case|worst[- ]case|spreadsheets?)\b`,
	`\b(spalten?|felder|feld|karten?|tafel|vorlagen?|colonnes?|champs?|cartes?|tableaux?|columnas?|campos?|tarjetas?|tableros?|colonn[ae]|camp[oi]|schede|colunas?|quadros?|kolommen|kolom|velden|veld|kaarten|bord|kolumn\w*|pola|kart\w*|tablic\w*|sutun\w*|alan\w*|pano\w*)\b`,
)
