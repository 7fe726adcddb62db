package testutil

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/gorilla/websocket"
)

const separator = "\x1e"

func decodeBase64(s string) ([]byte, error) { return base64.StdEncoding.DecodeString(s) }

func encodePayload(packets []EnginePacket) string {
	parts := make([]string, len(packets))
	for i, p := range packets {
		if p.Binary {
			parts[i] = "b" + base64.StdEncoding.EncodeToString(p.Data)
		} else {
			parts[i] = p.text()
		}
	}
	return strings.Join(parts, separator)
}

func (e *Engine) openPolling(ctx context.Context) error {
	body, err := e.Request(ctx, http.MethodGet, e.URL("polling"), "")
	if err != nil {
		return err
	}
	first, rest, _ := strings.Cut(body, separator)
	if err := e.opened(parsePacket(first)); err != nil {
		return err
	}
	if rest != "" {
		return fmt.Errorf("testutil: dial: more than the open packet: %q", rest)
	}
	return nil
}

// Request sends one HTTP request with the connection's headers and returns the
// body; a status other than 200 is an *HTTPError.
func (e *Engine) Request(ctx context.Context, method, target, body string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, method, target, strings.NewReader(body))
	if err != nil {
		return "", fmt.Errorf("testutil: request: %w", err)
	}
	for k, v := range e.opts.Header {
		req.Header[k] = v
	}
	if host := e.opts.Header.Get("Host"); host != "" {
		req.Host = host
	}
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "text/plain;charset=UTF-8")
	}
	res, err := e.http.Do(req)
	if err != nil {
		return "", fmt.Errorf("testutil: request: %w", err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		return "", fmt.Errorf("testutil: response: %w", err)
	}
	if res.StatusCode != http.StatusOK {
		return "", &HTTPError{Status: res.StatusCode, Header: res.Header, Body: string(b)}
	}
	return string(b), nil
}

// post sends packets in one request; the caller holds e.send.
func (e *Engine) post(ctx context.Context, packets []EnginePacket) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(e.ctx, cancel)()
	_, err := e.Request(ctx, http.MethodPost, e.URL("polling"), encodePayload(packets))
	if err != nil && ctx.Err() == nil {
		e.end("transport error", err)
	}
	return err
}

// poll reads until the connection ends or is upgraded.
func (e *Engine) poll() {
	if e.wantsUpgrade() {
		e.wg.Go(e.probe)
	}
	for e.ctx.Err() == nil {
		body, err := e.Request(e.ctx, http.MethodGet, e.URL("polling"), "")
		if err != nil {
			e.end("transport error", err)
			return
		}
		for part := range strings.SplitSeq(body, separator) {
			p, err := parsePacket(part)
			if err != nil {
				e.end("parse error", err)
				return
			}
			if !e.handle(p) {
				return
			}
		}
		select {
		case ws := <-e.upgrade:
			e.switchTo(ws)
			return
		default:
		}
	}
}

// probe opens a WebSocket beside the polling transport and hands it over when
// the server has confirmed it. A failed probe leaves the session on polling.
func (e *Engine) probe() {
	ws, err := e.dialWebSocket(e.ctx)
	if err != nil {
		return
	}
	stop := context.AfterFunc(e.ctx, func() { ws.Close() })
	if err = e.writeWebSocket(ws, []EnginePacket{{Type: PacketPing, Data: []byte("probe")}}); err == nil {
		var p EnginePacket
		if p, err = readPacket(ws); err == nil && p.text() == "3probe" && stop() {
			e.upgrade <- ws
			if e.ctx.Err() != nil {
				e.dropUpgrade()
			}
			return
		}
	}
	ws.Close()
}

// switchTo completes the upgrade: no POST is under way while e.send is held, and
// the caller has no GET pending.
func (e *Engine) switchTo(ws *websocket.Conn) {
	e.send.Lock()
	defer e.send.Unlock()
	e.mu.Lock()
	e.ws = ws
	e.mu.Unlock()
	if e.ctx.Err() != nil { // end may have run before ws was there
		ws.Close()
		return
	}
	if err := e.writeWebSocket(ws, []EnginePacket{{Type: PacketUpgrade}}); err == nil {
		close(e.upgraded)
	}
}

func (e *Engine) dialWebSocket(ctx context.Context) (*websocket.Conn, error) {
	ws, res, err := new(websocket.Dialer).DialContext(ctx, e.URL("websocket"), e.opts.Header)
	if err != nil && res != nil {
		body, _ := io.ReadAll(res.Body)
		return nil, &HTTPError{Status: res.StatusCode, Header: res.Header, Body: string(body)}
	}
	if err != nil {
		return nil, fmt.Errorf("testutil: dial: %w", err)
	}
	return ws, nil
}

func (e *Engine) openWebSocket(ctx context.Context) error {
	ws, err := e.dialWebSocket(ctx)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { ws.Close() })
	err = e.opened(readPacket(ws))
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		ws.Close()
		return err
	}
	e.ws = ws
	return nil
}

func readPacket(ws *websocket.Conn) (EnginePacket, error) {
	kind, b, err := ws.ReadMessage()
	if err != nil {
		return EnginePacket{}, err
	}
	if kind == websocket.BinaryMessage {
		return BinaryMessage(b), nil
	}
	p, err := parsePacket(string(b))
	if err != nil {
		return p, &CloseError{Reason: "parse error", Err: err}
	}
	return p, nil
}

func (e *Engine) readWebSocket() {
	ws := e.WebSocket()
	for {
		p, err := readPacket(ws)
		if err != nil {
			reason := "transport close"
			if _, ok := err.(*CloseError); ok {
				reason = "parse error"
			}
			e.end(reason, err)
			return
		}
		if !e.handle(p) {
			return
		}
	}
}

func (e *Engine) writeWebSocket(ws *websocket.Conn, packets []EnginePacket) error {
	for _, p := range packets {
		kind, b := websocket.BinaryMessage, p.Data
		if !p.Binary {
			kind, b = websocket.TextMessage, []byte(p.text())
		}
		if err := ws.WriteMessage(kind, b); err != nil {
			return fmt.Errorf("testutil: send: %w", err)
		}
	}
	return nil
}
