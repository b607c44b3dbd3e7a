import java.io.BufferedReader;
import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.util.Arrays;
import java.util.Base64;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.FsShell;
import org.apache.hadoop.util.ToolRunner;

/**
 * Runs Hadoop FsShell commands, many in one JVM. Input, a line each, fields parted by tabs:
 * "conf k=v ..." starts over with a fresh configuration, "fs -ls /" runs a command.
 * Output, a line for each input line: exit code, standard output and standard error in base64.
 */
final class ShellServer {
  private final BufferedReader input;
  private final PrintStream output;
  private Configuration configuration = fresh();

  ShellServer(BufferedReader input, PrintStream output) {
    this.input = input;
    this.output = output;
  }

  private static Configuration fresh() {
    Configuration configuration = new Configuration(false);
    configuration.addResource("core-default.xml");
    configuration.set("fs.alluxio.impl", "alluxio.hadoop.FileSystem");
    configuration.set("fs.AbstractFileSystem.alluxio.impl", "alluxio.hadoop.AlluxioFileSystem");
    return configuration;
  }

  void run() throws Exception {
    PrintStream systemOut = System.out;
    PrintStream systemErr = System.err;
    for (String line = input.readLine(); line != null; line = input.readLine()) {
      String[] fields = line.split("\t", -1);
      ByteArrayOutputStream out = new ByteArrayOutputStream();
      ByteArrayOutputStream err = new ByteArrayOutputStream();
      System.setOut(new PrintStream(out, true, "UTF-8"));
      System.setErr(new PrintStream(err, true, "UTF-8"));
      int exit;
      try {
        exit = run(fields);
      } catch (Throwable thrown) {
        thrown.printStackTrace();
        exit = 99;
      } finally {
        System.out.flush();
        System.err.flush();
        System.setOut(systemOut);
        System.setErr(systemErr);
      }
      Base64.Encoder base64 = Base64.getEncoder();
      output.println(
          exit + "\t" + base64.encodeToString(out.toByteArray()) + "\t" + base64.encodeToString(err.toByteArray()));
    }
  }

  private int run(String[] fields) throws Exception {
    if (fields[0].equals("conf")) {
      FileSystem.closeAll();
      configuration = fresh();
      for (int i = 1; i < fields.length; i++) {
        int equals = fields[i].indexOf('=');
        configuration.set(fields[i].substring(0, equals), fields[i].substring(equals + 1));
      }
      return 0;
    }
    FsShell shell = new FsShell(configuration);
    try {
      return ToolRunner.run(shell, Arrays.copyOfRange(fields, 1, fields.length));
    } finally {
      shell.close();
    }
  }
}
