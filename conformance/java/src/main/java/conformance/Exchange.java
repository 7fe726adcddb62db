package conformance;

import static conformance.Values.array;
import static conformance.Values.object;
import static conformance.Wait.equal;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import org.json.JSONArray;
import org.json.JSONObject;

/** What a connected client and the server tell each other. */
final class Exchange {
  private Exchange() {}

  static void addTo(Map<String, Main.Check> checks) {
    checks.put("carries JSON values and unicode both ways, in order", Exchange::values);
    checks.put("carries binary both ways, nested and several", Exchange::binary);
    checks.put("gets acks for its events and answers the server's", Exchange::acks);
    checks.put("lets the server's ack time out", Exchange::ackTimeout);
    checks.put("answers a broadcast with acks", Exchange::broadcastAcks);
    checks.put("gets what is sent to its rooms", Exchange::rooms);
    checks.put("relays to others, all and a room", Exchange::relay);
    checks.put("loses and reorders nothing in a burst", Exchange::order);
  }

  private static void values(Server server, String[] transports) throws Exception {
    try (var client = Client.connect(server, transports, "/")) {
      var everything = new ArrayList<Object>(Values.JSON);
      everything.addAll(Values.TEXT);
      for (Object value : everything) {
        equal("echo", client.call("echo", value), List.of(value));
      }
      equal("all at once", client.call("echo", everything.toArray()), everything);
      var want = new ArrayList<Object>();
      for (Object value : everything) {
        server.ctl("socketEmit", "id", client.id(), "event", "value", "args", array(value));
        want.add(List.of("value", value));
      }
      server.ctl("socketEmit", "id", client.id(), "event", "événement ✓", "args", everything);
      server.ctl("socketEmit", "id", client.id(), "event", "none");
      everything.add(0, "événement ✓");
      want.add(everything);
      want.add(List.of("none"));
      equal("events", client.got(want.size()), want);
    }
  }

  private static void binary(Server server, String[] transports) throws Exception {
    try (var client = Client.connect(server, transports, "/")) {
      for (var e : Values.binary().entrySet()) {
        equal("echo of " + e.getKey(), client.call("echo", e.getValue()), List.of(e.getValue()));
        server.ctl("socketEmit", "id", client.id(), "event", "bin", "args", array("before", e.getValue(), "after"));
        equal(e.getKey(), client.got(1), List.of(List.of("bin", "before", e.getValue(), "after")));
      }
    }
  }

  private static void acks(Server server, String[] transports) throws Exception {
    try (var client = Client.connect(server, transports, "/")) {
      var pending = new ArrayList<CompletableFuture<Object[]>>();
      for (int i = 0; i < 100; i++) {
        pending.add(client.emit("echo", i));
      }
      for (int i = 0; i < 100; i++) {
        equal("concurrent ack", Wait.get("ack " + i, pending.get(i)), List.of(i));
      }
      client.answers.put("ask", args -> args);
      for (Object value : List.of(JSONObject.NULL, 1, "é", object("a", array(1)), "bin".getBytes(), object("b", new byte[0]))) {
        var got = server.ctl("socketEmitWithAck", "id", client.id(), "event", "ask", "args", array(value));
        equal("the client's answer", got, value);
      }
    }
  }

  private static void ackTimeout(Server server, String[] transports) throws Exception {
    try (var client = Client.connect(server, transports, "/")) {
      client.answers.put("ask", args -> null);
      server.ctl("socketEmitWithAck", "id", client.id(), "event", "ask", "timeout", 100);
      throw new AssertionError("an answer nobody gave");
    } catch (Server.CtlException e) {
      equal("error", e.getMessage(), "operation has timed out");
    }
  }

  private static void broadcastAcks(Server server, String[] transports) throws Exception {
    var nsp = "/dyn-acks";
    try (var a = Client.connect(server, transports, nsp);
        var b = Client.connect(server, transports, nsp)) {
      a.answers.put("ask", args -> new Object[] {7});
      b.answers.put("ask", args -> new Object[] {7});
      var got = (JSONObject) server.ctl("emitWithAck", "nsp", nsp, "event", "ask", "timeout", 3000);
      equal("error", got.opt("err"), null);
      equal("answers", got.opt("responses"), List.of(7, 7));
    }
  }

  private static void rooms(Server server, String[] transports) throws Exception {
    var nsp = "/dyn-rooms-" + transports.length + transports[0];
    try (var a = Client.connect(server, transports, nsp);
        var b = Client.connect(server, transports, nsp);
        var c = Client.connect(server, transports, nsp)) {
      server.ctl("join", "nsp", nsp, "id", a.id(), "rooms", array("red", "blue"));
      server.ctl("join", "nsp", nsp, "id", b.id(), "rooms", array("blue"));
      server.ctl("emit", "nsp", nsp, "event", "all");
      server.ctl("emit", "nsp", nsp, "event", "red", "to", array("red"));
      server.ctl("emit", "nsp", nsp, "event", "either", "to", array("red", "blue"));
      server.ctl("emit", "nsp", nsp, "event", "id", "to", array(c.id()));
      server.ctl("emit", "nsp", nsp, "event", "except", "except", array("red"));
      server.ctl("emit", "nsp", nsp, "event", "others", "from", a.id());
      server.ctl("leave", "nsp", nsp, "id", a.id(), "rooms", array("blue"));
      server.ctl("emit", "nsp", nsp, "event", "later", "to", array("blue"));
      server.ctl("emit", "nsp", nsp, "event", "end");
      equal("a", a.names(4), List.of("all", "red", "either", "end"));
      equal("b", b.names(6), List.of("all", "either", "except", "others", "later", "end"));
      equal("c", c.names(5), List.of("all", "id", "except", "others", "end"));
    }
  }

  private static void relay(Server server, String[] transports) throws Exception {
    var nsp = "/dyn-relay-" + transports.length + transports[0];
    try (var a = Client.connect(server, transports, nsp);
        var b = Client.connect(server, transports, nsp);
        var c = Client.connect(server, transports, nsp)) {
      server.ctl("join", "nsp", nsp, "id", b.id(), "rooms", array("room"));
      var bytes = "bytes".getBytes();
      a.socket.emit("relay", "r1", 1, bytes);
      a.socket.emit("relayAll", "r2", object("two", 2));
      a.socket.emit("relayRoom", "room", "r3");
      a.socket.emit("relayAll", "end");
      var r1 = List.of("r1", a.id(), 1, bytes);
      var r2 = List.of("r2", a.id(), object("two", 2));
      var end = List.of("end", a.id());
      equal("a", a.got(2), List.of(r2, end));
      equal("b", b.got(4), List.of(r1, r2, List.of("r3", a.id()), end));
      equal("c", c.got(3), List.of(r1, r2, end));
    }
  }

  // All through the upgrade, where there is one: the burst starts as soon as the
  // namespace is joined.
  private static void order(Server server, String[] transports) throws Exception {
    try (var client = Client.connect(server, transports, "/")) {
      var ops = new JSONArray();
      var want = new ArrayList<Object>();
      var answers = new ArrayList<CompletableFuture<Object[]>>();
      for (int i = 0; i < 300; i++) {
        ops.put(object("op", "socketEmit", "id", client.id(), "event", "n", "args", array(i)));
        want.add(List.of("n", i));
        answers.add(client.emit("echo", i));
      }
      server.ctl("batch", "ops", ops);
      equal("from the server", client.got(300), want);
      for (int i = 0; i < 300; i++) {
        equal("echo", Wait.get("echo " + i, answers.get(i)), List.of(i));
      }
      client.settled(transports);
      equal("after", client.call("echo", "after"), List.of("after"));
    }
  }
}
