package conformance;

import java.math.BigDecimal;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.json.JSONArray;
import org.json.JSONException;
import org.json.JSONObject;

/** JSON values with bytes in them: making, comparing, and sending them over POST /ctl. */
final class Values {
  private Values() {}

  /** Values every path must carry unchanged. */
  static final List<Object> JSON =
      List.of(
          JSONObject.NULL, true, false, 0, -1, 1.5, 1e21, 1e-7, (1L << 53) - 1, -123456789.25,
          "", " ", "plain", "quote \" backslash \\ slash / </", "\0\b\f\n\r\t\u001e\u007f", "<script>&amp;</script>",
          array(), object(), array(array()),
          array(JSONObject.NULL, array(1, array("two", object("three", array(3))))),
          object("nested", object("deep", array(1, object("deepest", JSONObject.NULL))), "key with space", 1, "", "empty key"),
          object("_placeholder", false, "num", 0));

  static final List<Object> TEXT =
      List.of(
          "てすと", "Я Б Г Д Ж Й", "Ä ä Ü ü ß", "utf8 — string", "😀👩‍👩‍👧‍👦🏳️‍🌈",
          "\u2028\u2029\ufeff", "€𝄞", "é vs e\u0301");

  static Map<String, Object> binary() {
    var large = new byte[500_000];
    Arrays.fill(large, (byte) 0xA5);
    var ten = array();
    for (byte i = 0; i < 10; i++) {
      ten.put(new byte[] {i});
    }
    return Map.of(
        "bytes", new byte[] {0, 1, 2, (byte) 250, (byte) 255},
        "no bytes", new byte[0],
        "nested bytes", object("a", array(object("b", "nested".getBytes())), "c", JSONObject.NULL),
        "several", array("x".getBytes(), object("y", "y".getBytes()), new byte[0], "text"),
        "ten attachments", ten,
        "500 KB", large);
  }

  static JSONArray array(Object... items) {
    var out = new JSONArray();
    for (Object item : items) {
      out.put(item);
    }
    return out;
  }

  static JSONObject object(Object... keysAndValues) {
    var out = new JSONObject();
    for (int i = 0; i < keysAndValues.length; i += 2) {
      put(out, (String) keysAndValues[i], keysAndValues[i + 1]);
    }
    return out;
  }

  /** Text that is the same for equal values, whatever classes hold them. */
  static String canonical(Object v) {
    if (v == null || v == JSONObject.NULL) {
      return "null";
    }
    if (v instanceof Number) {
      var n = new BigDecimal(v.toString());
      return n.signum() == 0 ? "0" : n.stripTrailingZeros().toString();
    }
    if (v instanceof String s) {
      return JSONObject.quote(s);
    }
    if (v instanceof byte[] b) {
      return "bytes:" + Base64.getEncoder().encodeToString(b);
    }
    if (v instanceof Object[] list) {
      return Arrays.stream(list).map(Values::canonical).toList().toString();
    }
    if (v instanceof List<?> list) {
      return list.stream().map(Values::canonical).toList().toString();
    }
    if (v instanceof JSONArray a) {
      return canonical(items(a));
    }
    if (v instanceof JSONObject o) {
      var sorted = new TreeMap<String, String>();
      keys(o).forEach(k -> sorted.put(k, canonical(o.opt(k))));
      return sorted.toString();
    }
    return v.toString();
  }

  static Object[] items(JSONArray a) {
    var out = new Object[a.length()];
    for (int i = 0; i < out.length; i++) {
      out[i] = a.opt(i);
    }
    return out;
  }

  /** Replaces bytes by the objects that stand for them on /ctl. */
  static Object pack(Object v) {
    if (v instanceof byte[] b) {
      return object("$bin", Base64.getEncoder().encodeToString(b));
    }
    if (v instanceof Object[] list) {
      return array(Arrays.stream(list).map(Values::pack).toArray());
    }
    if (v instanceof List<?> list) {
      return pack(list.toArray());
    }
    if (v instanceof JSONArray a) {
      return pack(items(a));
    }
    if (v instanceof JSONObject o) {
      var out = new JSONObject();
      keys(o).forEach(k -> put(out, k, pack(o.opt(k))));
      return out;
    }
    return v;
  }

  /** The inverse of pack. */
  static Object unpack(Object v) {
    if (v instanceof JSONArray a) {
      return array(Arrays.stream(items(a)).map(Values::unpack).toArray());
    }
    if (!(v instanceof JSONObject o)) {
      return v;
    }
    if (o.length() == 1 && o.has("$bin")) {
      return Base64.getDecoder().decode(o.optString("$bin"));
    }
    var out = new JSONObject();
    keys(o).forEach(k -> put(out, k, unpack(o.opt(k))));
    return out;
  }

  private static void put(JSONObject out, String key, Object v) {
    try {
      out.put(key, v);
    } catch (JSONException e) {
      throw new IllegalArgumentException(e);
    }
  }

  private static List<String> keys(JSONObject o) {
    var out = new ArrayList<String>();
    for (var it = o.keys(); it.hasNext(); ) {
      out.add((String) it.next());
    }
    return out;
  }
}
