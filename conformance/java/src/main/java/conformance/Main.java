package conformance;

import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Timer;
import java.util.TimerTask;

/**
 * The official Java client against one server, over each transport. Prints one line per check, and
 * at the end "N passed, N failed".
 */
public final class Main {
  private static final long TOTAL_LIMIT_MS = 150_000;

  private int passed;
  private int failed;

  /** Something the client has to do. */
  interface Check {
    void run(Server server, String[] transports) throws Exception;
  }

  private Main() {}

  public static void main(String[] args) throws Exception {
    Runtime.getRuntime().addShutdownHook(new Thread(Server::closeAll));
    startWatchdog();
    var main = new Main();
    main.runAll();
    System.out.printf("java: %d passed, %d failed%n", main.passed, main.failed);
    System.exit(main.failed > 0 ? 1 : 0); // the client's threads outlive it
  }

  private static void startWatchdog() {
    new Timer(true)
        .schedule(
            new TimerTask() {
              @Override
              public void run() {
                System.err.println("not done after " + TOTAL_LIMIT_MS + " ms");
                System.exit(1);
              }
            },
            TOTAL_LIMIT_MS);
  }

  private void runAll() throws Exception {
    var transports = new LinkedHashMap<String, String[]>();
    transports.put("polling", new String[] {"polling"});
    transports.put("websocket", new String[] {"websocket"});
    transports.put("upgrade", new String[] {"polling", "websocket"});
    var checks = new LinkedHashMap<String, Check>();
    Exchange.addTo(checks);
    Lifetime.addTo(checks);
    try (var server = new Server(0)) {
      if (Values.canonical(server.ctl("info")).contains("impl=\"go\"")) {
        checks.put("works with a session id that has a dot", Lifetime::sessionId);
      }
      for (var t : transports.entrySet()) {
        for (Map.Entry<String, Check> c : checks.entrySet()) {
          run("java " + t.getKey() + ": " + c.getKey(), c.getValue(), server, t.getValue());
        }
      }
    }
  }

  private void run(String name, Check check, Server server, String[] transports) {
    long start = System.nanoTime();
    try {
      check.run(server, transports);
      passed++;
      System.out.printf("ok    %s (%.2f s)%n", name, (System.nanoTime() - start) / 1e9);
    } catch (Exception | AssertionError e) {
      failed++;
      System.out.println("FAIL  " + name);
      e.printStackTrace(System.out);
    }
  }
}
