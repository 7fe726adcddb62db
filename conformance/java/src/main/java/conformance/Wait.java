package conformance;

import java.util.Arrays;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/** Waiting with a deadline, and comparing. */
final class Wait {
  /** Seconds any single step may take. */
  static final long LIMIT = 10;

  private Wait() {}

  static void until(String what, Callable<Boolean> done) throws Exception {
    long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(LIMIT);
    while (!done.call()) {
      if (System.nanoTime() > deadline) {
        throw new AssertionError("waited " + LIMIT + " s for " + what);
      }
      Thread.sleep(10);
    }
  }

  /** The result of a blocking call, on a daemon thread that a deadline leaves behind. */
  static <T> T within(String what, Callable<T> call) throws Exception {
    var result = new CompletableFuture<T>();
    var thread =
        new Thread(
            () -> {
              try {
                result.complete(call.call());
              } catch (Throwable t) {
                result.completeExceptionally(t);
              }
            });
    thread.setDaemon(true);
    thread.start();
    return get(what, result);
  }

  static <T> T get(String what, CompletableFuture<T> result) throws Exception {
    try {
      return result.get(LIMIT, TimeUnit.SECONDS);
    } catch (TimeoutException e) {
      throw new AssertionError("waited " + LIMIT + " s for " + what);
    }
  }

  static void equal(String what, Object got, Object want) {
    var g = Values.canonical(got);
    var w = Values.canonical(want);
    if (!g.equals(w)) {
      throw new AssertionError(what + ": got " + shorten(g) + ", want " + shorten(w));
    }
  }

  static void oneOf(String what, Object got, Object... wanted) {
    if (!Arrays.asList(wanted).contains(got)) {
      throw new AssertionError(what + ": got " + got + ", want one of " + Arrays.toString(wanted));
    }
  }

  private static String shorten(String text) {
    return text.length() > 500 ? text.substring(0, 500) + "..." : text;
  }
}
