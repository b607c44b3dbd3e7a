import alluxio.conf.Configuration;
import alluxio.conf.InstancedConfiguration;
import alluxio.conf.PropertyKey;
import alluxio.conf.Source;
import alluxio.master.MasterInquireClient;
import alluxio.security.user.UserState;
import java.net.InetSocketAddress;
import java.util.stream.Collectors;

/** Asks as Alluxio's own clients do where the masters are; settings come as "key=value". */
public final class FindMasters {
  public static void main(String[] settings) throws Exception {
    InstancedConfiguration configuration = new InstancedConfiguration(Configuration.copyProperties());
    for (String setting : settings) {
      int equals = setting.indexOf('=');
      PropertyKey key = PropertyKey.fromString(setting.substring(0, equals));
      configuration.set(key, key.parseValue(setting.substring(equals + 1)), Source.RUNTIME);
    }
    MasterInquireClient client =
        MasterInquireClient.Factory.create(configuration, UserState.Factory.create(configuration));
    System.out.println("leader " + shown(client.getPrimaryRpcAddress()));
    System.out.println(
        "masters "
            + client.getMasterRpcAddresses().stream()
                .map(FindMasters::shown)
                .sorted()
                .collect(Collectors.joining(",")));
    System.exit(0); // Curator's threads would go on
  }

  private static String shown(InetSocketAddress address) {
    return address.getHostString() + ":" + address.getPort();
  }
}
