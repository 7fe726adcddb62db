package conformance;

import java.io.BufferedReader;
import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.TimeUnit;
import org.json.JSONArray;
import org.json.JSONObject;

/**
 * One server process, driven over POST /ctl. CONFORMANCE_SERVER is the built Go server;
 * CONFORMANCE_TARGET=node runs the Node.js reference in CONFORMANCE_REFERENCE instead, which proves
 * the checks.
 */
final class Server implements AutoCloseable {
  static final String NAME = "java-node_1"; // stands in front of the Go server's session ids
  private static final HttpClient HTTP = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();
  private static final Set<Process> CHILDREN = ConcurrentHashMap.newKeySet();

  final int port;
  final String url;
  private final Process process;

  /** Starts a server on a port, 0 for a free one, with fields of NODE_CONFIG in turn with values. */
  Server(int port, Object... config) throws Exception {
    var all = Values.object(config);
    all.put("name", NAME).put("port", port).put("adapter", "none");
    var builder = new ProcessBuilder(command()).redirectError(ProcessBuilder.Redirect.INHERIT);
    builder.environment().put("NODE_CONFIG", all.toString());
    builder.environment().put("PORT", Integer.toString(port));
    process = builder.start();
    CHILDREN.add(process);
    this.port = awaitPort();
    url = "http://127.0.0.1:" + this.port;
  }

  private static List<String> command() {
    if ("node".equals(System.getenv("CONFORMANCE_TARGET"))) {
      return List.of("node", Path.of(System.getenv("CONFORMANCE_REFERENCE")).toString(), "node");
    }
    return List.of(System.getenv("CONFORMANCE_SERVER"), "node");
  }

  private int awaitPort() throws Exception {
    BufferedReader out = process.inputReader();
    String line = Wait.within("the server to listen", out::readLine);
    if (line == null || !line.startsWith("LISTENING ")) {
      process.destroyForcibly();
      throw new IOException("the server said " + line);
    }
    return Integer.parseInt(line.substring("LISTENING ".length()));
  }

  /** Runs an operation; fields are names and values in turn. */
  Object ctl(String op, Object... fields) throws Exception {
    var body = ((JSONObject) Values.pack(Values.object(fields))).put("op", op).toString();
    var request =
        HttpRequest.newBuilder(URI.create(url + "/ctl"))
            .timeout(Duration.ofSeconds(Wait.LIMIT))
            .header("Content-Type", "application/json")
            .POST(HttpRequest.BodyPublishers.ofString(body))
            .build();
    var answer = new JSONObject(HTTP.send(request, HttpResponse.BodyHandlers.ofString()).body());
    if (!answer.getBoolean("ok")) {
      throw new CtlException(answer.getString("error"));
    }
    return Values.unpack(answer.opt("result"));
  }

  /** The server's view of a local socket. */
  JSONObject socket(String id) throws Exception {
    return find("sockets", id, null);
  }

  /** An entry of the server's log; null while there is none. */
  JSONObject logged(String event, String id) throws Exception {
    return find("log", id, event);
  }

  private JSONObject find(String op, String id, String event) throws Exception {
    var list = (JSONArray) ctl(op);
    for (int i = 0; i < list.length(); i++) {
      var entry = list.getJSONObject(i);
      if (entry.getString("id").equals(id) && (event == null || event.equals(entry.getString("event")))) {
        return entry;
      }
    }
    return null;
  }

  /** Waits for the server's reason for the end of a socket. */
  String reason(String id) throws Exception {
    Wait.until("the server to log the end of " + id, () -> logged("disconnect", id) != null);
    return logged("disconnect", id).getString("reason");
  }

  /** Waits for the process to end by itself. */
  int exitCode() throws Exception {
    if (!process.waitFor(Wait.LIMIT, TimeUnit.SECONDS)) {
      throw new IOException("the server does not end");
    }
    return process.exitValue();
  }

  @Override
  public void close() {
    process.destroyForcibly().onExit().join();
    CHILDREN.remove(process);
  }

  static void closeAll() {
    CHILDREN.forEach(Process::destroyForcibly);
  }

  /** What the server answered an operation with when it failed. */
  static final class CtlException extends Exception {
    private static final long serialVersionUID = 1;

    CtlException(String message) {
      super(message);
    }
  }

}
