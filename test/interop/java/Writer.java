import alluxio.AlluxioURI;
import alluxio.client.file.FileOutStream;
import alluxio.client.file.FileSystem;
import alluxio.grpc.CreateFilePOptions;
import alluxio.grpc.WritePType;
import java.io.BufferedReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;

/**
 * Writes small files without pause until a line comes on standard input. Arguments: the directory,
 * the write type, then settings. Prints "ready", then "ok name startMs endMs" for every acknowledged file and
 * "failed name message" for every one that the client gave up on. A file's bytes are its name, repeated 100 times.
 */
final class Writer {
  private final String directory;
  private final WritePType writeType;
  private final FileSystem fileSystem;
  private final BufferedReader input;
  private final PrintStream output;
  private volatile boolean isStopped = false;

  Writer(String[] arguments, BufferedReader input, PrintStream output) {
    this.directory = arguments[0];
    this.writeType = WritePType.valueOf(arguments[1]);
    this.fileSystem = Clients.open(arguments, 2);
    this.input = input;
    this.output = output;
  }

  void run() throws Exception {
    Thread stopper = new Thread(() -> {
      try {
        input.readLine();
      } catch (java.io.IOException closed) {
        // The test is gone: stop as well.
      }
      isStopped = true;
    });
    stopper.setDaemon(true);
    stopper.start();
    CreateFilePOptions options =
        CreateFilePOptions.newBuilder().setWriteType(writeType).setRecursive(true).build();
    write("warm-up", options);
    output.println("ready");
    for (int i = 0; !isStopped; i++) {
      String name = "java-" + i;
      long startMs = System.currentTimeMillis();
      try {
        write(name, options);
        output.println("ok\t" + name + "\t" + startMs + "\t" + System.currentTimeMillis());
      } catch (Exception failure) {
        output.println("failed\t" + name + "\t" + String.valueOf(failure).replace('\n', ' '));
      }
    }
    output.println("done");
  }

  private void write(String name, CreateFilePOptions options) throws Exception {
    StringBuilder content = new StringBuilder();
    for (int i = 0; i < 100; i++) {
      content.append(name);
    }
    try (FileOutStream stream = fileSystem.createFile(new AlluxioURI(directory + "/" + name), options)) {
      stream.write(content.toString().getBytes(StandardCharsets.UTF_8));
    }
  }
}
