package conformance;

import io.socket.client.IO;
import io.socket.client.Socket;
import java.net.URI;
import java.util.Map;

/**
 * A client that stays: it connects to the URL over the transports it is given and prints what
 * happens to it, one line each. It ends with its input.
 */
public final class Drained {
  private Drained() {}

  public static void main(String[] args) throws Exception {
    var options = new IO.Options();
    options.forceNew = true;
    options.transports = args[1].split(",");
    options.auth = Map.of("n", "1");
    var socket = IO.socket(URI.create(args[0]), options);
    socket.on(Socket.EVENT_CONNECT, x -> say("CONNECT", socket.id()));
    socket.on(Socket.EVENT_DISCONNECT, x -> say("DISCONNECT", x[0]));
    socket.on(Socket.EVENT_CONNECT_ERROR, x -> say("REFUSED", x[0]));
    socket.on("m", x -> say("GOT", x[0] + " " + x[1]));
    socket.connect();
    while (System.in.read() >= 0) {
      // Nobody writes.
    }
    System.exit(0); // the client's threads outlive it
  }

  private static void say(String what, Object value) {
    System.out.println(what + " " + value);
  }
}
