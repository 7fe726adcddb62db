package conformance;

import io.socket.client.Ack;
import io.socket.client.IO;
import io.socket.client.Manager;
import io.socket.client.Socket;
import java.net.URI;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.function.UnaryOperator;

/** One namespace of a connection of the official client, which records what it gets. */
final class Client implements AutoCloseable {
  final Socket socket;
  final List<Object> events = new CopyOnWriteArrayList<>(); // each an Object[] {event, args...}
  final List<String> reasons = new CopyOnWriteArrayList<>();
  final List<Object> refusals = new CopyOnWriteArrayList<>();
  // Events that are answered instead of recorded; null stays silent.
  final Map<String, UnaryOperator<Object[]>> answers = new ConcurrentHashMap<>();
  private volatile boolean upgraded;

  /** A connection of its own, still connecting. */
  static Client open(Server server, String nsp, IO.Options options) {
    options.forceNew = true;
    var client = new Client(IO.socket(URI.create(server.url + nsp), options));
    client.watchUpgrade();
    client.socket.connect();
    return client;
  }

  static Client connect(Server server, String[] transports, String nsp) throws Exception {
    return open(server, nsp, options(transports)).connected();
  }

  static IO.Options options(String[] transports) {
    var options = new IO.Options();
    options.transports = transports;
    options.reconnection = false;
    options.reconnectionDelay = 50;
    options.reconnectionDelayMax = 100;
    options.timeout = 1000 * Wait.LIMIT;
    return options;
  }

  private Client(Socket socket) {
    this.socket = socket;
    socket.on(Socket.EVENT_DISCONNECT, args -> reasons.add((String) args[0]));
    socket.on(Socket.EVENT_CONNECT_ERROR, args -> refusals.add(args[0]));
    socket.onAnyIncoming(this::receive);
  }

  /** One more namespace over the same connection, still connecting. */
  Client of(String nsp) {
    var other = new Client(socket.io().socket(nsp));
    other.socket.connect();
    return other;
  }

  Client connected() throws Exception {
    Wait.until("the connection, refused: " + refusals, socket::connected);
    return this;
  }

  private void receive(Object... args) {
    var last = args[args.length - 1];
    var answer = answers.get(args[0]);
    if (last instanceof Ack ack && answer != null) {
      var reply = answer.apply(Arrays.copyOfRange(args, 1, args.length - 1));
      if (reply != null) {
        ack.call(reply);
      }
      return;
    }
    events.add(last instanceof Ack ? Arrays.copyOf(args, args.length - 1) : args);
  }

  /** Emits and waits for the answer. */
  Object[] call(String event, Object... args) throws Exception {
    return Wait.get("the answer to " + event, emit(event, args));
  }

  CompletableFuture<Object[]> emit(String event, Object... args) {
    var answer = new CompletableFuture<Object[]>();
    socket.emit(event, args, (Ack) answer::complete);
    return answer;
  }

  /** Waits for a number of events and takes them. */
  List<Object> got(int count) throws Exception {
    Wait.until(count + " events", () -> events.size() >= count);
    var taken = List.copyOf(events);
    events.clear();
    return taken;
  }

  /** The names of a number of events. */
  List<Object> names(int count) throws Exception {
    return got(count).stream().map(e -> ((Object[]) e)[0]).toList();
  }

  String id() {
    return socket.id();
  }

  /** The Engine.IO connection below, which the client does not show. */
  io.socket.engineio.client.Socket engine() {
    try {
      var field = Manager.class.getDeclaredField("engine");
      field.setAccessible(true);
      return (io.socket.engineio.client.Socket) field.get(socket.io());
    } catch (ReflectiveOperationException e) {
      throw new AssertionError(e);
    }
  }

  private void watchUpgrade() {
    // The first transport is made when the engine exists and nothing was sent yet.
    socket.io().on(
        Manager.EVENT_TRANSPORT,
        args -> {
          if (!engine().hasListeners(io.socket.engineio.client.Socket.EVENT_UPGRADE)) {
            engine().on(io.socket.engineio.client.Socket.EVENT_UPGRADE, up -> upgraded = true);
          }
        });
  }

  /** Waits until the connection has left polling where transports ask for it. */
  Client settled(String[] transports) throws Exception {
    if (transports.length > 1) {
      Wait.until("the upgrade", () -> upgraded);
    }
    return this;
  }

  @Override
  public void close() {
    socket.io().reconnection(false);
    socket.disconnect();
  }
}
