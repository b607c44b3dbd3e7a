import com.google.protobuf.Descriptors.Descriptor;
import com.google.protobuf.Descriptors.EnumDescriptor;
import com.google.protobuf.Descriptors.EnumValueDescriptor;
import com.google.protobuf.Descriptors.FieldDescriptor;
import com.google.protobuf.Descriptors.FileDescriptor;
import com.google.protobuf.Descriptors.MethodDescriptor;
import com.google.protobuf.Descriptors.ServiceDescriptor;
import java.nio.file.Paths;
import java.util.Collections;
import java.util.TreeSet;
import java.util.jar.JarEntry;
import java.util.jar.JarFile;

/** Prints what Alluxio's own jar says of its protocol: a line for each field, enum value and method. */
public final class Descriptors {
  private static final TreeSet<String> LINES = new TreeSet<>();

  public static void main(String[] args) throws Exception {
    Class<?> known = Class.forName("alluxio.grpc.FileInfo");
    String jar = Paths.get(known.getProtectionDomain().getCodeSource().getLocation().toURI()).toString();
    try (JarFile file = new JarFile(jar)) {
      for (JarEntry entry : Collections.list(file.entries())) {
        String name = entry.getName();
        if (name.startsWith("alluxio/") && name.endsWith(".class") && !name.contains("$")) {
          add(name.substring(0, name.length() - ".class".length()).replace('/', '.'));
        }
      }
    }
    LINES.forEach(System.out::println);
  }

  private static void add(String className) {
    FileDescriptor file;
    try {
      Object result = Class.forName(className).getMethod("getDescriptor").invoke(null);
      if (!(result instanceof FileDescriptor)) {
        return;
      }
      file = (FileDescriptor) result;
    } catch (ReflectiveOperationException | LinkageError e) {
      return; // not a file's outer class
    }
    file.getEnumTypes().forEach(Descriptors::addEnum);
    file.getMessageTypes().forEach(Descriptors::addMessage);
    file.getServices().forEach(Descriptors::addService);
  }

  private static void addEnum(EnumDescriptor type) {
    for (EnumValueDescriptor value : type.getValues()) {
      LINES.add("enum " + type.getFullName() + " " + value.getName() + " = " + value.getNumber());
    }
  }

  private static void addMessage(Descriptor type) {
    if (type.getOptions().getMapEntry()) {
      return;
    }
    LINES.add("message " + type.getFullName());
    type.getEnumTypes().forEach(Descriptors::addEnum);
    type.getNestedTypes().forEach(Descriptors::addMessage);
    for (FieldDescriptor field : type.getFields()) {
      LINES.add("field " + type.getFullName() + " " + field.getNumber() + " " + field.getName() + " "
          + labelOf(field) + " " + typeOf(field) + " " + oneofOf(field));
    }
  }

  private static String labelOf(FieldDescriptor field) {
    return field.isRequired() ? "required" : field.isRepeated() ? "repeated" : "optional";
  }

  private static String oneofOf(FieldDescriptor field) {
    return field.getContainingOneof() == null ? "-" : field.getContainingOneof().getName();
  }

  private static String typeOf(FieldDescriptor field) {
    if (field.isMapField()) {
      Descriptor entry = field.getMessageType();
      return "map<" + typeOf(entry.findFieldByNumber(1)) + "," + typeOf(entry.findFieldByNumber(2)) + ">";
    }
    switch (field.getJavaType()) {
      case MESSAGE:
        return field.getMessageType().getFullName();
      case ENUM:
        return field.getEnumType().getFullName();
      default:
        return field.getType().name().toLowerCase();
    }
  }

  private static void addService(ServiceDescriptor service) {
    for (MethodDescriptor method : service.getMethods()) {
      LINES.add("method /" + service.getFullName() + "/" + method.getName() + " "
          + (method.isClientStreaming() ? "stream " : "") + method.getInputType().getFullName() + " "
          + (method.isServerStreaming() ? "stream " : "") + method.getOutputType().getFullName());
    }
  }
}
