package server

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/socketfleet/socketfleet/internal/engineio"
)

// engineClientServer is the server the test suite of engine.io-client expects.
func engineClientServer() (http.Handler, string, error) {
	posts := &lastPosts{headers: make(map[string]http.Header)}
	engine, err := engineio.NewServer(engineio.Options{
		Path:         "/engine.io/",
		PingInterval: 500 * time.Millisecond,
		MaxPayload:   100,
		Origins:      []string{"*"},
		AllowRequest: func(r *http.Request) error {
			if r.URL.Query().Has("deny") {
				return errors.New("Forbidden")
			}
			return nil
		},
		InitialHeaders: func(h http.Header, _ *http.Request) {
			h.Add("Set-Cookie", "1=1; Max-Age=86400")
			h.Add("Set-Cookie", "2=2; Path=/; HttpOnly; Secure; SameSite=Strict")
			h.Add("Set-Cookie", "3=3; Max-Age=0")
			h.Add("Set-Cookie", "4=4; Expires="+time.Now().UTC().Format(http.TimeFormat))
		},
	}, func(s *engineio.Session) engineio.Receiver {
		r := engineClient{echo{s}, posts}
		r.Text([]byte("hi"))
		return r
	})
	if err != nil {
		return nil, "", err
	}
	mux := http.NewServeMux()
	mux.Handle("/engine.io/", posts.remember(engine))
	return mux, portFromEnv("3000"), nil
}

// engineClient answers the suite's special messages and echoes the others.
type engineClient struct {
	echo
	posts *lastPosts
}

func (c engineClient) Text(data []byte) {
	switch string(data) {
	case "give binary":
		c.Binary([]byte{0, 1, 2, 3, 4})
	case "give utf8":
		c.echo.Text([]byte("пойду спать всем спокойной ночи"))
	case "sendHeaders":
		c.echo.Text(c.posts.json(c.s.ID()))
	default:
		c.echo.Text(data)
	}
}

func (c engineClient) Closed(engineio.Reason, error) { c.posts.forget(c.s.ID()) }

// lastPosts keeps the headers of the last POST of each session.
type lastPosts struct {
	mu      sync.Mutex // guards the following
	headers map[string]http.Header
}

func (p *lastPosts) remember(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if sid := r.URL.Query().Get("sid"); sid != "" && r.Method == http.MethodPost {
			p.mu.Lock()
			p.headers[sid] = r.Header
			p.mu.Unlock()
		}
		next.ServeHTTP(w, r)
	})
}

func (p *lastPosts) json(sid string) []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	flat := make(map[string]string)
	for name, values := range p.headers[sid] {
		flat[strings.ToLower(name)] = strings.Join(values, ", ")
	}
	out, _ := json.Marshal(flat) // a map of strings always has a JSON form
	return out
}

func (p *lastPosts) forget(sid string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.headers, sid)
}
