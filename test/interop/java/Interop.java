import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;

/**
 * Entry point of the Java side: the first argument picks the program. Each talks to the test that
 * started it over standard input and output, so that one JVM serves many cases.
 */
public final class Interop {
  private Interop() {}

  public static void main(String[] args) throws Exception {
    String[] rest = Arrays.copyOfRange(args, 1, args.length);
    switch (args[0]) {
      case "shell":
        new ShellServer(lines(), protocolOutput()).run();
        break;
      case "writer":
        new Writer(rest, lines(), protocolOutput()).run();
        break;
      case "load":
        new Load(rest, protocolOutput()).run();
        break;
      default:
        throw new IllegalArgumentException("no program " + args[0]);
    }
    System.exit(0);
  }

  private static BufferedReader lines() {
    return new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
  }

  /** The real standard output; libraries that print go to standard error from now on. */
  private static PrintStream protocolOutput() throws Exception {
    PrintStream real = new PrintStream(System.out, true, "UTF-8");
    System.setOut(System.err);
    return real;
  }
}
