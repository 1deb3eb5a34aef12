// What serverless.yml cannot say by itself: the cluster that is given or made, and an output for each source.
const given = (parameter, made) => async ({ resolveVariable }) => (await resolveVariable(`param:${parameter}`)) || made;

const clusterArn = given("cluster_arn", { "Fn::GetAtt": ["Cluster", "DBClusterArn"] });
const secretArn = given("secret_arn", { "Fn::GetAtt": ["Cluster", "MasterUserSecret.SecretArn"] });

// An output's name has letters and digits only.
const title = (name) => name.replace(/(^|[^a-z0-9])+([a-z0-9])/gi, (...match) => match[2].toUpperCase());

const outputs = async (framework) => {
  const sources = JSON.parse(await framework.resolveVariable("env:WEBHOOKS_SOURCES, param:sources"));
  const urls = Object.keys(sources).map((name) => [
    `UrlOf${title(name)}`,
    {
      Description: `Where ${name} sends its webhooks`,
      Value: { "Fn::Sub": `https://\${HttpApi}.execute-api.\${AWS::Region}.\${AWS::URLSuffix}/webhooks/${name}` },
    },
  ]);
  return {
    ...Object.fromEntries(urls),
    ClusterArn: { Value: await clusterArn(framework) },
    SecretArn: { Value: await secretArn(framework) },
    Database: { Value: await framework.resolveVariable("param:database") },
    QueueUrl: { Value: { Ref: "Queue" } },
    QueueArn: { Value: { "Fn::GetAtt": ["Queue", "Arn"] } },
    AlertsArn: { Value: { Ref: "Alerts" } },
  };
};

module.exports = { clusterArn, secretArn, outputs };
