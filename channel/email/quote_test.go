package email

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestCustomersWordsAreNeverCut: wherever a customer writes above, between and
// below quoted lines, whatever announces them, every word is visible, and no
// quoted one is. The seed is in the failure.
func TestCustomersWordsAreNeverCut(t *testing.T) {
	announced := []string{
		"",
		"On Mon, Nov 2, 2026 at 10:00 AM Support <support@fte.test> wrote:\n",
		"On Mon, Nov 2, 2026 at 10:00 AM Customer Success Support\n<support@fte.test> wrote:\n\n",
		"Am 02.11.26 um 10:00 schrieb Support:\n",
		"Le lun. 2 nov. 2026 à 10:00, Support <support@fte.test> a\nécrit :\n\n",
		"-----Original Message-----\n",
		"-----Ursprüngliche Nachricht-----\nVon: Support <support@fte.test>\nGesendet: Montag\nAn: Anna\nBetreff: Login\n\n",
		"2026年11月2日(月) 10:00 Support <support@fte.test>:\n\n",
	}
	for seed := range uint64(2000) {
		r := rand.New(rand.NewPCG(seed, 0))
		var body strings.Builder
		var mine, theirs []string
		write := func() {
			for range r.IntN(3) {
				word := fmt.Sprintf("mine%d", len(mine))
				mine = append(mine, word)
				fmt.Fprintf(&body, "I say %s today.\n%s", word, strings.Repeat("\n", r.IntN(2)))
			}
		}
		write()
		body.WriteString(announced[r.IntN(len(announced))])
		for range 1 + r.IntN(4) {
			for range 1 + r.IntN(3) {
				word := fmt.Sprintf("theirs%d", len(theirs))
				theirs = append(theirs, word)
				fmt.Fprintf(&body, "%s %s said\n", strings.Repeat(">", 1+r.IntN(2)), word)
			}
			body.WriteString(strings.Repeat("\n", r.IntN(2)))
			write()
		}
		m := readMail(t, "Subject: Re: Login\nIn-Reply-To: <x@fte.test>\nContent-Type: text/plain; charset=utf-8\n", body.String(), ReadConfig{})
		for _, word := range mine {
			require.Contains(t, m.Visible, word, "seed %d:\n%s", seed, body.String())
		}
		if len(mine) == 0 {
			require.NotEmpty(t, m.Visible, "seed %d", seed)
			continue
		}
		for _, word := range theirs {
			require.NotContains(t, m.Visible, word, "seed %d:\n%s", seed, body.String())
			require.Contains(t, m.Quoted, word, "seed %d:\n%s", seed, body.String())
		}
	}
}

// TestPhoneLines: a line a phone added is a signature; the same words said by a
// customer are not.
func TestPhoneLines(t *testing.T) {
	for _, text := range []string{
		"Sent from my iPhone", "Sent from my iPad.", "Sent from my Samsung Galaxy smartphone.", "Sent from Outlook for iOS", "Sent from Mail for Windows",
		"Get Outlook for Android<https://aka.ms/AAb9ysg>", "Sent from Yahoo Mail for iPhone", "Sent via BlackBerry", "Sent with Proton Mail secure email.",
		"Von meinem iPhone gesendet", "Von meinem Samsung Galaxy Smartphone gesendet.", "Gesendet mit der GMX Mail App", "Gesendet von Outlook für Android", "Holen Sie sich Outlook für iOS", "Diese Nachricht wurde von meinem Android-Gerät mit K-9 Mail gesendet.",
		"Envoyé de mon iPhone", "Envoyé depuis mon appareil Galaxy", "Obtenez Outlook pour Android", "Envoyé à partir de Outlook pour iOS",
		"Enviado desde mi iPhone", "Enviado desde mi Samsung Galaxy", "Obtener Outlook para Android",
		"Inviato da iPhone", "Inviato dal mio telefono Android", "Ottieni Outlook per Android",
		"Enviado do meu iPhone", "Enviado a partir do meu smartphone Samsung Galaxy.", "Obter o Outlook para Android",
		"Verstuurd vanaf mijn iPhone", "Verzonden vanaf Outlook voor Android", "Outlook voor iOS downloaden",
		"Wysłane z iPhone'a", "Wysłane z telefonu Samsung Galaxy", "Pobierz aplikację Outlook dla systemu Android",
		"iPhone'umdan gönderildi", "Samsung Galaxy akıllı telefonumdan gönderildi.", "Android için Outlook’u edinin",
		"أُرسلت من الـ iPhone", "تم الإرسال من هاتف Samsung Galaxy", "मेरे iPhone से भेजा गया", "iPhoneから送信", "发自我的iPhone", "从我的 iPhone 发送", "從我的 iPhone 傳送",
	} {
		require.True(t, isPhoneLine(text), text)
	}
	for _, text := range []string{
		"I sent it from my iPhone yesterday.", "Sent from my house.", "My iPhone is broken", "Can I get Outlook for iOS?", "Gesendet habe ich es gestern.",
		"Enviado ayer.", "Inviato ieri.", "发自内心的感谢", "", strings.Repeat("Sent from my iPhone ", 20),
	} {
		require.False(t, isPhoneLine(text), text)
	}
}
