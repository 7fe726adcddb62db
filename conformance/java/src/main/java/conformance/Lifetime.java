package conformance;

import static conformance.Values.array;
import static conformance.Values.object;
import static conformance.Wait.equal;
import static conformance.Wait.oneOf;

import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import org.json.JSONArray;
import org.json.JSONObject;

/** How a client comes, stays, goes and comes back. */
final class Lifetime {
  private Lifetime() {}

  static void addTo(Map<String, Main.Check> checks) {
    checks.put("connects; auth, headers and query are in the handshake", Lifetime::connecting);
    checks.put("sends an empty auth object where there is none", Lifetime::noAuth);
    checks.put("is refused an unknown namespace and keeps the connection", Lifetime::refusal);
    checks.put("joins four namespaces over one connection", Lifetime::namespaces);
    checks.put("leaves by itself", Lifetime::leaving);
    checks.put("is told to leave one namespace and keeps the other", Lifetime::toldToLeave);
    checks.put("loses all namespaces when the server closes the connection", Lifetime::closedByServer);
    checks.put("stays connected through heartbeats", Lifetime::heartbeat);
    checks.put("comes back after the server stopped", (s, t) -> reconnecting(t, true));
    checks.put("comes back after the server was killed", (s, t) -> reconnecting(t, false));
  }

  private static void connecting(Server server, String[] transports) throws Exception {
    var options = Client.options(transports);
    options.auth = Map.of("token", "é \"1\"");
    options.extraHeaders = Map.of("X-Custom", List.of("Value"));
    options.query = "room=a%20b&n=2";
    try (var client = Client.open(server, "/", options).connected()) {
      equal("length of the id", client.id().length(), 20);
      var handshake = server.socket(client.id()).getJSONObject("handshake");
      equal("auth", handshake.get("auth"), object("token", "é \"1\""));
      equal("header", handshake.getJSONObject("headers").get("x-custom"), "Value");
      var query = handshake.getJSONObject("query");
      equal("EIO", query.get("EIO"), "4");
      equal("transport", query.get("transport"), transports[0]);
      equal("query", List.of(query.get("room"), query.get("n")), List.of("a b", "2"));
      var want = object("event", "connection", "nsp", "/", "id", client.id(), "recovered", false);
      equal("log", server.logged("connection", client.id()), want);
      client.settled(transports);
    }
  }

  static void sessionId(Server server, String[] transports) throws Exception {
    try (var client = Client.connect(server, transports, "/").settled(transports)) {
      var sid = client.engine().id();
      equal("node and dot", sid.substring(0, sid.length() - 20), Server.NAME + ".");
      equal("echo", client.call("echo", "routed"), List.of("routed"));
    }
  }

  private static void noAuth(Server server, String[] transports) throws Exception {
    try (var client = Client.connect(server, transports, "/")) {
      var handshake = server.socket(client.id()).getJSONObject("handshake");
      equal("auth", handshake.get("auth"), new JSONObject());
    }
  }

  private static void refusal(Server server, String[] transports) throws Exception {
    try (var client = Client.connect(server, transports, "/")) {
      for (var name : List.of("/unknown", "/dyn-no!")) {
        var refused = client.of(name);
        Wait.until("connect_error", () -> !refused.refusals.isEmpty());
        equal(name, refused.refusals, List.of(object("message", "Invalid namespace")));
      }
      equal("echo", client.call("echo", 1), List.of(1));
    }
  }

  private static void namespaces(Server server, String[] transports) throws Exception {
    try (var main = Client.connect(server, transports, "/")) {
      var all = List.of(main, main.of("/custom"), main.of("/dyn-one"), main.of("/dyn-two_2"));
      var names = List.of("/", "/custom", "/dyn-one", "/dyn-two_2");
      var ids = new HashSet<String>();
      for (int i = 0; i < all.size(); i++) {
        var client = all.get(i).connected();
        ids.add(client.id());
        equal(names.get(i), client.call("echo", i), List.of(i));
        server.ctl("emit", "nsp", names.get(i), "event", "only", "args", array(i), "to", array(client.id()));
        equal(names.get(i), client.got(1), List.of(List.of("only", i)));
      }
      equal("different ids", ids.size(), 4);
    }
  }

  private static void leaving(Server server, String[] transports) throws Exception {
    try (var client = Client.connect(server, transports, "/").settled(transports)) {
      var id = client.id();
      client.socket.disconnect();
      Wait.until("the disconnect event", () -> !client.reasons.isEmpty());
      equal("client's reason", client.reasons, List.of("io client disconnect"));
      // DISCONNECT and the end of the connection may arrive together.
      oneOf("server's reason", server.reason(id), "client namespace disconnect", "transport close");
    }
  }

  private static void toldToLeave(Server server, String[] transports) throws Exception {
    try (var client = Client.connect(server, transports, "/")) {
      var custom = client.of("/custom").connected();
      var id = client.id();
      server.ctl("socketDisconnect", "id", id, "close", false);
      Wait.until("the disconnect event", () -> !client.reasons.isEmpty());
      equal("client's reason", client.reasons, List.of("io server disconnect"));
      equal("server's reason", server.reason(id), "server namespace disconnect");
      equal("the other namespace", custom.call("echo", "alive"), List.of("alive"));
      custom.close();
    }
  }

  private static void closedByServer(Server server, String[] transports) throws Exception {
    try (var client = Client.connect(server, transports, "/").settled(transports)) {
      var custom = client.of("/custom").connected();
      var ids = List.of(client.id(), custom.id());
      server.ctl("socketDisconnect", "id", ids.get(0), "close", true);
      Wait.until("both to end", () -> !client.reasons.isEmpty() && !custom.reasons.isEmpty());
      for (var id : ids) {
        equal("server's reason", server.reason(id), "server namespace disconnect");
      }
    }
  }

  private static void heartbeat(Server ignored, String[] transports) throws Exception {
    try (var server = new Server(0, "pingInterval", 300, "pingTimeout", 1500);
        var client = Client.connect(server, transports, "/")) {
      // Without an answer the server would give up after 1.8 s.
      long end = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(4000);
      while (System.nanoTime() < end) {
        equal("echo", client.call("echo", "alive"), List.of("alive"));
        Thread.sleep(300);
      }
      equal("reasons", client.reasons, List.of());
    }
  }

  // The client does not answer a WebSocket close frame, nor does it see what follows:
  // over WebSocket it takes a missing heartbeat to tell it that a server has stopped.
  private static void reconnecting(String[] transports, boolean graceful) throws Exception {
    var options = Client.options(transports);
    options.reconnection = true;
    options.auth = Map.of("n", "1");
    try (var first = new Server(0, "pingInterval", 300, "pingTimeout", 2000);
        var client = Client.open(first, "/", options).connected().settled(transports)) {
      var custom = client.of("/custom").connected();
      var before = custom.id();
      if (graceful) {
        first.ctl("stop");
        equal("exit code", first.exitCode(), 0);
      } else {
        first.close();
      }
      Wait.until("the client to notice", () -> client.reasons.size() == 1 && custom.reasons.size() == 1);
      for (var reason : List.of(client.reasons.get(0), custom.reasons.get(0))) {
        // The reference's close frame is lost on this client, see docs/drain.md.
        var late = graceful && "node".equals(System.getenv("CONFORMANCE_TARGET"));
        oneOf("client's reason", reason, "transport close", "transport error", late ? "ping timeout" : "");
      }
      try (var second = new Server(first.port)) {
        client.connected();
        custom.connected();
        if (before.equals(custom.id())) {
          throw new AssertionError("the socket id is the old one");
        }
        equal("echo", custom.call("echo", "back"), List.of("back"));
        var sockets = (JSONArray) second.ctl("sockets");
        equal("auth", sockets.getJSONObject(0).getJSONObject("handshake").get("auth"), object("n", "1"));
        client.close();
        custom.close();
      }
    }
  }
}
