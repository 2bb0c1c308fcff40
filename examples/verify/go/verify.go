// Verify a JWT of the gateway with the standard library: go run verify.go JWKS_URL ISSUER AUDIENCE < token
package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"
)

const leeway = 5 // seconds by which clocks may differ

type claims struct {
	Issuer       string          `json:"iss"`
	Audience     json.RawMessage `json:"aud"`
	Expires      float64         `json:"exp"`
	NotBefore    float64         `json:"nbf"`
	Issued       float64         `json:"iat"`
	Realm        string          `json:"realm"`
	Username     string          `json:"username"`
	Roles        []string        `json:"roles"`
	Confirmation json.RawMessage `json:"cnf"`
	Restrictions json.RawMessage `json:"restrictions"`
}

// keys fetches the key set. A service keeps it for five minutes, and fetches it again for an unknown kid, but at
// most every ten seconds.
func keys(url string) (map[string]*ecdsa.PublicKey, error) {
	client := http.Client{Timeout: 5 * time.Second}
	response, err := client.Get(url)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the key set answers with status %d", response.StatusCode)
	}
	var set struct {
		Keys []struct{ Kty, Crv, Kid, Alg, X, Y string }
	}
	if err := json.NewDecoder(io.LimitReader(response.Body, 1<<20)).Decode(&set); err != nil {
		return nil, err
	}
	found := map[string]*ecdsa.PublicKey{}
	for _, key := range set.Keys {
		if key.Kty != "EC" || key.Crv != "P-256" || (key.Alg != "" && key.Alg != "ES256") {
			continue
		}
		x, errX := base64.RawURLEncoding.DecodeString(key.X)
		y, errY := base64.RawURLEncoding.DecodeString(key.Y)
		if errX != nil || errY != nil || len(x) != 32 || len(y) != 32 {
			continue
		}
		public := &ecdsa.PublicKey{Curve: elliptic.P256(), X: new(big.Int).SetBytes(x), Y: new(big.Int).SetBytes(y)}
		if _, err := public.ECDH(); err == nil { // the point is on the curve
			found[key.Kid] = public
		}
	}
	return found, nil
}

func part(text string, into any) error {
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return err
	}
	return json.Unmarshal(raw, into)
}

func verify(token string, known map[string]*ecdsa.PublicKey, issuer, audience string) (*claims, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil, errors.New("not a signed JWT")
	}
	var header struct {
		Alg, Kid, Typ string
		Crit          []string
	}
	if err := part(parts[0], &header); err != nil {
		return nil, err
	}
	// The algorithm is the one that the service expects, whatever the JWT says.
	if header.Alg != "ES256" || header.Crit != nil || (header.Typ != "" && header.Typ != "JWT") {
		return nil, errors.New("another algorithm, type or extension")
	}
	key := known[header.Kid]
	if key == nil {
		return nil, errors.New("unknown key")
	}
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil || len(signature) != 64 {
		return nil, errors.New("malformed signature")
	}
	digest := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	r, s := new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])
	if !ecdsa.Verify(key, digest[:], r, s) {
		return nil, errors.New("wrong signature")
	}
	var found claims
	if err := part(parts[1], &found); err != nil {
		return nil, err
	}
	return &found, check(&found, issuer, audience)
}

func check(found *claims, issuer, audience string) error {
	now := float64(time.Now().Unix())
	var names []string
	if json.Unmarshal(found.Audience, &names) != nil {
		names = make([]string, 1)
		_ = json.Unmarshal(found.Audience, &names[0])
	}
	switch {
	case now >= found.Expires+leeway:
		return errors.New("expired")
	case now+leeway < max(found.NotBefore, found.Issued):
		return errors.New("not valid yet")
	case found.Issuer != issuer:
		return errors.New("another issuer")
	case !slices.Contains(names, audience):
		return errors.New("another audience")
	case found.Confirmation != nil || found.Restrictions != nil:
		return errors.New("a condition that is not checked")
	case found.Realm == "" || found.Username == "":
		return errors.New("no user")
	}
	return nil
}

func main() {
	known, err := keys(os.Args[1])
	if err == nil {
		var token []byte
		if token, err = io.ReadAll(os.Stdin); err == nil {
			var found *claims
			if found, err = verify(strings.TrimSpace(string(token)), known, os.Args[2], os.Args[3]); err == nil {
				fmt.Println(found.Realm, found.Username, strings.Join(found.Roles, ","))
				return
			}
		}
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
