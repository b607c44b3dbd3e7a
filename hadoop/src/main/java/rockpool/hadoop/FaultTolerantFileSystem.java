package rockpool.hadoop;

import java.io.IOException;
import java.net.URI;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.Path;

/**
 * The scheme of Alluxio's fault tolerant mode, alluxio-ft://, which its client had until 1.x: the masters are those that the configuration leads to
 * (alluxio.zookeeper.address, or alluxio.master.rpc.addresses), whatever host stands in the path.
 *
 * <pre>
 * fs.alluxio-ft.impl=rockpool.hadoop.FaultTolerantFileSystem
 * </pre>
 */
public final class FaultTolerantFileSystem extends alluxio.hadoop.FileSystem {
  private static final String SCHEME = "alluxio-ft";
  private static final URI ANYWHERE = URI.create(SCHEME + ":///");

  @Override
  public String getScheme() {
    return SCHEME;
  }

  @Override
  public void initialize(URI uri, Configuration configuration) throws IOException {
    super.initialize(ANYWHERE, configuration);
  }

  /** A host in a path is ignored, so every path of the scheme belongs here. */
  @Override
  protected void checkPath(Path path) {
    String scheme = path.toUri().getScheme();
    if (scheme != null && !scheme.equalsIgnoreCase(SCHEME)) {
      super.checkPath(path);
    }
  }
}
